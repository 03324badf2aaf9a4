"""The images that checkpoints of a segmentor are chosen on."""

from __future__ import annotations

from typing import Any

from mmengine.config import Config


def target_config(config: Config, data: str | None = None) -> Config:
    """The config with its validation images as test images; they need no labels."""
    config.test_dataloader = config.get("val_dataloader") or config.test_dataloader
    return config


def source_config(config: Config, root: str) -> Config:
    """The config with source images as test images: under ``root`` in the layout of the training data."""
    source: Any = config.train_dataloader.dataset
    source = source.dataset if source.type == "SeededDataset" else source
    target = config.test_dataloader.dataset
    pipeline = target.get("pipeline") or target.datasets[0].pipeline
    kept = {key: value for key, value in source.items() if key != "on_bad_sample"}
    config.test_dataloader.dataset = {**kept, "data_root": root, "pipeline": pipeline, "test_mode": True}
    for name in {"init_cfg", "weights"} & config.model.backbone.keys():
        config.model.backbone[name] = None  # nothing is compared with the pretrained network
    return config
