"""Configs of the images on which checkpoints of a segmentor are selected."""

from __future__ import annotations

from typing import Any

from mmengine.config import Config


def target_config(config: Config, data: str | None = None) -> Config:
    """Return the config with its validation images as test images; labels are not needed."""
    config.test_dataloader = config.get("val_dataloader") or config.test_dataloader
    return config


def source_config(config: Config, root: str) -> Config:
    """Return the config with source images as test images: those in ``root``, in the layout of the training data."""
    source: Any = config.train_dataloader.dataset
    source = source.dataset if source.type == "SeededDataset" else source
    target = config.test_dataloader.dataset
    pipeline = target.get("pipeline") or target.datasets[0].pipeline
    kept = {key: value for key, value in source.items() if key != "on_bad_sample"}
    config.test_dataloader.dataset = {**kept, "data_root": root, "pipeline": pipeline, "test_mode": True}
    for name in {"init_cfg", "weights"} & config.model.backbone.keys():
        config.model.backbone[name] = None  # no comparison with the pretrained network follows
    return config
