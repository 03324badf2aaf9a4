"""The images that checkpoints of a classifier are chosen on."""

from __future__ import annotations

from pathlib import Path

from mmengine.config import Config

from gcisg_cls.datasets import VISDA17_CLASSES


def target_config(config: Config, data: str | None = None) -> Config:
    """The config with its validation images as test images, or images under ``data`` that need no labels."""
    config.test_dataloader = config.get("val_dataloader") or config.test_dataloader
    if data and not any((Path(data) / name).exists() for name in ("image_list.txt", *_classes(config))):
        config.test_dataloader.dataset.type = "UnlabelledImages"
    return config


def source_config(config: Config, root: str) -> Config:
    """The config with source images as test images, those of the class folders under ``root``."""
    config.test_dataloader.dataset.root = root
    config.model.weights = None  # nothing is compared with the pretrained network
    return config


def _classes(config: Config) -> tuple[str, ...]:
    return tuple(config.test_dataloader.dataset.get("classes") or VISDA17_CLASSES)
