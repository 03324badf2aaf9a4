"""The images that checkpoints of a classifier are chosen on."""

from __future__ import annotations

from pathlib import Path, PurePath
from typing import Any

from mmengine.config import Config
from mmengine.registry import DATASETS, TRANSFORMS

from gcisg_cls.datasets import VISDA17_CLASSES, ClassFolderDataset
from gcisg_core.problems import DataError
from gcisg_suite.folders import list_files
from gcisg_suite.images import SUFFIXES


@DATASETS.register_module()
class UnlabelledImages(ClassFolderDataset):
    """All images below a folder, whatever the folders are called; the label of each is 0 and means nothing.

    Args:
        root: The folder.
        pipeline: Config of the transform of an image.
        classes: Those of the classifier.

    Raises:
        DataError: there is no image.
    """

    def __init__(self, root: str, pipeline: dict[str, Any], classes: Any = None, **_: Any) -> None:
        self.root, self.classes = Path(root), tuple(classes or VISDA17_CLASSES)
        self.samples = [(name, 0) for name in list_files(self.root).files if PurePath(name).suffix.lower() in SUFFIXES]
        if not self.samples:
            raise DataError(root, "no image found", "Name a folder with images of the target")
        self.on_bad_sample = "error"
        self.metainfo = {"classes": self.classes}
        self.pipeline = TRANSFORMS.build(pipeline)


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
