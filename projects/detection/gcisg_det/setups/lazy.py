"""The setup of a LazyConfig."""

from __future__ import annotations

import copy
from collections.abc import Callable
from pathlib import Path
from typing import Any

from detectron2.config import instantiate
from detectron2.data import DatasetCatalog
from detectron2.data import transforms as T
from omegaconf import ListConfig, OmegaConf
from torch import nn

from ..datasets import class_ids_of, register_coco
from ..lazy.method import method_of, without_losses
from .base import DetectorSetup

CLASSES = ("num_classes", "roi_heads.num_classes", "head.num_classes", "sem_seg_head.num_classes")


class LazySetup(DetectorSetup):
    """See :class:`DetectorSetup`.

    Args:
        config: The nodes as :func:`gcisg_det.lazy.read_config` read them; they are not changed.
    """

    def __init__(self, config: Any) -> None:
        self.config = copy.deepcopy(config)
        self.own: tuple[str, str] | None = None

    @property
    def weights(self) -> str:
        return str(self.config.train.get("init_checkpoint") or "")

    @property
    def image_format(self) -> str:
        node = self.config.dataloader.test.get("mapper") or {}
        return str(node.get("image_format") or self.config.model.get("input_format") or "BGR")

    @property
    def data(self) -> str:
        name = first_name(self.config.dataloader.test)
        if name not in DatasetCatalog.list():
            raise ValueError(f"dataloader.test.dataset.names is {name!r}, expected a registered data set")
        return name

    def register(self) -> None:
        if self.own is not None:
            register_coco(*self.own, str(Path(self.own[1]).parent))

    def use_data(self, name: str, file: str) -> None:
        if not Path(file).is_file():
            raise ValueError(f"{file}: with a LazyConfig, data are a JSON file in COCO's format above its images")
        self.own = (name, file)
        self.register()
        self._rename(name)

    def use_training_data(self) -> None:
        self._rename(first_name(self.config.dataloader.train))

    def forget_weights(self) -> None:
        self.config.train.init_checkpoint = ""

    def _rename(self, name: str) -> None:
        self.config.dataloader.test.dataset.names = name

    def number_of_classes(self) -> tuple[str, int | None]:
        for key in CLASSES:
            if (number := OmegaConf.select(self.config.model, key)) is not None:
                return f"model.{key}", int(number)
        return "model.num_classes", None

    def class_ids(self) -> dict[str, int]:
        return class_ids_of(first_name(self.config.dataloader.test))

    def method(self) -> dict[str, Any]:
        return method_of(self.config.model)

    def build(self) -> nn.Module:
        model: nn.Module = instantiate(without_losses(self.config.model))
        return model.to(self.device).eval()

    def resize(self) -> T.Augmentation:
        node = OmegaConf.select(self.config, "dataloader.test.mapper.augmentations")
        if node is None:
            raise ValueError("the config has no dataloader.test.mapper.augmentations, which resize the images")
        return T.AugmentationList([*instantiate(node)])

    def mapper(self) -> Callable[[dict[str, Any]], dict[str, Any]]:
        mapper: Callable[[dict[str, Any]], dict[str, Any]] = instantiate(self.config.dataloader.test.mapper)
        return mapper

    def loader(self, name: str) -> Any:
        node = copy.deepcopy(self.config.dataloader.test)
        node.dataset.names = name
        return instantiate(node)


def first_name(loader: Any) -> str:
    """Return the name of a loader node's data set, the first of several; empty if the node names none."""
    names = OmegaConf.select(loader, "dataset.names")
    name = next(iter(names), None) if isinstance(names, ListConfig | list | tuple) else names
    return str(name or "")
