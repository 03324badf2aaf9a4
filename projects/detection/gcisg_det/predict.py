"""Boxes for images, by Detectron2's own model and visualiser."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from detectron2.config import CfgNode
from detectron2.data import transforms as T
from detectron2.data.catalog import Metadata
from detectron2.evaluation.coco_evaluation import instances_to_coco_json
from detectron2.modeling import build_model
from detectron2.utils.visualizer import Visualizer

from gcisg_core.integrations.detectron2.checkpoints import SafeCheckpointer
from gcisg_suite.text import read_json_object

from .config import head_key
from .datasets import class_ids, setup_datasets


def predictor(cfg: CfgNode, checkpoint: str, device: str, score: float) -> Predictor:
    """The :class:`Predictor` of a config as it was read."""
    setup_datasets(cfg)
    return Predictor(cfg, checkpoint, device, score)


class Predictor:
    """See `gcisg predict`, which uses it. Images are prepared as by the framework's `DefaultPredictor`.

    Args:
        cfg: Of this suite or of plain Detectron2; changed.
        checkpoint: Of training, with or without the method, or of plain Detectron2.
        device: Where the network runs.
        score: Lowest score of a box in the pictures; the records hold all that the model gives.

    Raises:
        ValueError: the checkpoint is one of another model, or cannot be read.
    """

    label_map = None

    def __init__(self, cfg: CfgNode, checkpoint: str, device: str, score: float) -> None:
        cfg.REGULARIZER = CfgNode({"METHOD": "none"}, new_allowed=True)
        cfg.MODEL.WEIGHTS, cfg.MODEL.DEVICE = "", device
        self.model = build_model(cfg).eval()
        SafeCheckpointer(self.model, strict=True).load(checkpoint)
        self.resize = T.ResizeShortestEdge([cfg.INPUT.MIN_SIZE_TEST] * 2, cfg.INPUT.MAX_SIZE_TEST)
        self.is_bgr, self.score = cfg.INPUT.FORMAT == "BGR", score
        known = _known(cfg, Path(checkpoint).with_suffix(".json"))
        self.classes, self.category_ids = list(known), list(known.values())
        self.metadata = Metadata(thing_classes=self.classes)

    @torch.inference_mode()
    def predict(self, images: Sequence[np.ndarray]) -> list[Any]:
        """The framework's `Instances` for images (H, W, 3), uint8, RGB."""
        inputs = []
        for image in images:
            pixels = image[..., ::-1] if self.is_bgr else image
            pixels = self.resize.get_transform(pixels).apply_image(pixels)
            tensor = torch.as_tensor(np.ascontiguousarray(pixels.transpose(2, 0, 1)).astype("float32"))
            inputs.append({"image": tensor, "height": image.shape[0], "width": image.shape[1]})
        return [output["instances"].to("cpu") for output in self.model(inputs)]

    def record(self, result: Any, about: dict[str, Any]) -> list[dict[str, Any]]:
        """An entry a box, in the form of COCO's results."""
        entries: list[dict[str, Any]] = instances_to_coco_json(result, about["image_id"])
        return [{**entry, "category_id": self.category_ids[entry["category_id"]]} for entry in entries]

    def draw(self, image: np.ndarray, result: Any) -> np.ndarray:
        """Boxes with class and score over the image."""
        shown = result[result.scores >= self.score]
        drawn: np.ndarray = Visualizer(image, self.metadata).draw_instance_predictions(shown).get_image()
        return drawn


def _known(cfg: CfgNode, beside: Path) -> dict[str, int]:
    """Class name -> category id: from what an export wrote beside its checkpoint, else the config's; else numbers."""
    count = cfg.MODEL[head_key(cfg)].NUM_CLASSES
    exported = read_json_object(beside)
    known = dict(zip(exported.get("classes", ()), exported.get("category_ids", ()), strict=False)) or class_ids(cfg)
    return known if len(known) == count else {f"class {i}": i for i in range(count)}
