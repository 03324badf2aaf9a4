"""Predicts boxes for images, with Detectron2's own model and visualiser."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from detectron2.data import transforms as T
from detectron2.data.catalog import Metadata
from detectron2.evaluation.coco_evaluation import instances_to_coco_json
from detectron2.utils.visualizer import Visualizer

from gcisg_suite.text import read_json_object

from .setups import DetectorSetup, setup_of


class Predictor:
    """The predictor of `gcisg predict`. It prepares images like the framework's `DefaultPredictor`.

    Args:
        config: A config of this suite or of plain Detectron2, yaml or lazy; it is not changed.
        checkpoint: A checkpoint of training, with or without the method, or of plain Detectron2.
        device: Where the network runs.
        score: Lowest score of a box in the pictures; the records hold all boxes of the model.

    Raises:
        ValueError: the checkpoint belongs to another model, or cannot be read.
    """

    label_map = None

    def __init__(self, config: Any, checkpoint: str, device: str, score: float) -> None:
        setup = setup_of(config)
        setup.register()
        setup.device, setup.pixel_statistics = device, None
        self.model = setup.build()
        setup.load(self.model, checkpoint)
        self.resize, self.is_bgr, self.score = setup.resize(), setup.image_format == "BGR", score
        known = _known(setup, Path(checkpoint).with_suffix(".json"))
        self.classes, self.category_ids = list(known), list(known.values())
        self.metadata = Metadata(thing_classes=self.classes)

    @torch.inference_mode()
    def predict(self, images: Sequence[np.ndarray]) -> list[Any]:
        """The framework's `Instances` for images (H, W, 3), uint8, RGB."""
        inputs = []
        for image in images:
            pixels = image[..., ::-1] if self.is_bgr else image
            resized = T.AugInput(pixels)
            self.resize(resized)
            tensor = torch.as_tensor(np.ascontiguousarray(resized.image.transpose(2, 0, 1)).astype("float32"))
            inputs.append({"image": tensor, "height": image.shape[0], "width": image.shape[1]})
        outputs = self.model(inputs)
        if "instances" not in outputs[0]:
            given = ", ".join(outputs[0])
            raise ValueError(
                f"predictions are boxes, but {type(self.model).__name__} gives {given}; `gcisg eval` takes it"
            )
        return [output["instances"].to("cpu") for output in outputs]

    def record(self, result: Any, about: dict[str, Any]) -> list[dict[str, Any]]:
        """One entry per box, in the form of COCO's results."""
        entries: list[dict[str, Any]] = instances_to_coco_json(result, about["image_id"])
        return [{**entry, "category_id": self.category_ids[entry["category_id"]]} for entry in entries]

    def draw(self, image: np.ndarray, result: Any) -> np.ndarray:
        """Boxes with class and score over the image."""
        shown = result[result.scores >= self.score]
        drawn: np.ndarray = Visualizer(image, self.metadata).draw_instance_predictions(shown).get_image()
        return drawn


def _known(setup: DetectorSetup, beside: Path) -> dict[str, int]:
    """Class name -> category id: from the file beside an exported checkpoint, else from the config, else numbers."""
    _, count = setup.number_of_classes()
    exported = read_json_object(beside)
    known = dict(zip(exported.get("classes", ()), exported.get("category_ids", ()), strict=False)) or setup.class_ids()
    return known if count in (None, len(known)) else {f"class {i}": i for i in range(count)}
