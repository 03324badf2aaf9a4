"""The setup of a `.yaml` config."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from detectron2.config import CfgNode
from detectron2.data import build_detection_test_loader
from detectron2.data import transforms as T
from detectron2.modeling import build_model
from torch import nn

from gcisg_core.integrations.detectron2 import regularizer_values

from ..config import head_key
from ..datasets import class_ids, setup_datasets
from ..mapper import build_mapper
from .base import DetectorSetup


class YamlSetup(DetectorSetup):
    """See :class:`DetectorSetup`.

    Args:
        cfg: A config of Detectron2, plain or of this project; it is not changed.
    """

    def __init__(self, cfg: CfgNode) -> None:
        self.cfg = self.config = self.pixel_statistics = cfg.clone()
        self.cfg.defrost()
        self.root = self.cfg.DATASETS.ROOT

    @property
    def weights(self) -> str:
        return str(self.cfg.MODEL.WEIGHTS)

    @property
    def image_format(self) -> str:
        return str(self.cfg.INPUT.FORMAT)

    @property
    def data(self) -> str:
        return str(self.cfg.DATASETS.TEST[0])

    def register(self) -> None:
        setup_datasets(self.cfg)

    def use_data(self, name: str, file: str) -> None:
        if Path(file).is_file():
            self.cfg.DATASETS.COCO = [*self.cfg.DATASETS.COCO, [name, file, str(Path(file).parent)]]
            self.cfg.DATASETS.TEST = (name,)
        else:
            self.cfg.DATASETS.ROOT = file

    def use_training_data(self) -> None:
        self.cfg.DATASETS.TEST = (self.cfg.DATASETS.TRAIN[0],)

    def forget_weights(self) -> None:
        self.cfg.MODEL.WEIGHTS = ""

    def number_of_classes(self) -> tuple[str, int | None]:
        key = head_key(self.cfg)
        return f"MODEL.{key}.NUM_CLASSES", None if key is None else self.cfg.MODEL[key].NUM_CLASSES

    def class_ids(self) -> dict[str, int]:
        return class_ids(self.cfg)

    def method(self) -> dict[str, Any]:
        return regularizer_values(self.cfg)

    def build(self) -> nn.Module:
        cfg = self.cfg.clone()
        cfg.REGULARIZER = CfgNode({"METHOD": "none"}, new_allowed=True)
        cfg.MODEL.DEVICE, cfg.MODEL.WEIGHTS = self.device, ""
        model: nn.Module = build_model(cfg)
        return model.eval()

    def resize(self) -> T.Augmentation:
        return T.ResizeShortestEdge([self.cfg.INPUT.MIN_SIZE_TEST] * 2, self.cfg.INPUT.MAX_SIZE_TEST)

    def mapper(self) -> Callable[[dict[str, Any]], dict[str, Any]]:
        return build_mapper(self.cfg, False)

    def loader(self, name: str) -> Any:
        return build_detection_test_loader(self.cfg, name, mapper=self.mapper())
