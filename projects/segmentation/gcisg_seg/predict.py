"""Predicts label maps for images, with mmseg's own inference and visualiser."""

from __future__ import annotations

import colorsys
from collections.abc import Sequence
from itertools import groupby
from typing import Any

import mmcv
import numpy as np
from mmengine.config import Config
from mmseg.apis import inference_model, init_model
from mmseg.visualization import SegLocalVisualizer
from PIL import Image

from gcisg_core.integrations.mmengine import load_for_evaluation
from gcisg_core.probe import naming_sizes
from gcisg_core.safe_load import read_checkpoint
from gcisg_seg.evaluation import predicted_classes
from gcisg_seg.export import class_meta
from gcisg_seg.pipelines import decoded, evaluation_steps
from gcisg_seg.windows import REMEDY


class Predictor:
    """The predictor of `gcisg predict`.

    Args:
        config: A config of this suite or of plain mmseg.
        checkpoint: A checkpoint of training, with or without the method, or of plain mmseg.
        device: The device that the network runs on.
        score: Not used; for detectors only.

    Raises:
        ValueError: the checkpoint belongs to another model, or cannot be read.
    """

    def __init__(self, config: Config, checkpoint: str, device: str, score: float = 0.0) -> None:
        if "regularizer" in config.model:
            config.model.regularizer = {"method": "none"}
        loader, *steps = evaluation_steps(config)
        self.grey = loader.get("color_type") == "grayscale"
        config.test_pipeline = [decoded(loader), *steps]
        self.model = init_model(config, None, device)
        load_for_evaluation(self.model, checkpoint)
        head = self.model.decode_head
        count = getattr(head, "num_classes", None) or head[-1].num_classes
        self.classes, self.palette = _named(class_meta(config, read_checkpoint(checkpoint)), count)
        # As in mmseg, with `reduce_zero_label` the first class has the value 1 in files.
        self.first = int(bool(config.get("test_dataloader", {}).get("dataset", {}).get("reduce_zero_label")))
        self.visualizer = SegLocalVisualizer(alpha=0.5)
        self.visualizer.dataset_meta = {"classes": self.classes, "palette": self.palette}

    def predict(self, images: Sequence[np.ndarray]) -> list[Any]:
        """mmseg's results for images (H, W, 3), uint8, RGB; consecutive images of the same size run as one batch."""
        results: list[Any] = []
        for _, group in groupby(images, key=lambda image: image.shape):
            with naming_sizes(self.model.backbone, REMEDY):
                results += inference_model(self.model, [self._loaded(image) for image in group])
        for result in results:
            result.pred_sem_seg.data = predicted_classes(result)[None]
        return results

    def _loaded(self, image: np.ndarray) -> np.ndarray:
        """An RGB image in the form that mmcv's loader returns."""
        return mmcv.rgb2gray(image) if self.grey else mmcv.rgb2bgr(image)

    def record(self, result: Any, about: dict[str, Any]) -> list[dict[str, Any]]:
        """One entry: the share of pixels of each class."""
        counts = np.bincount(_labels(result).ravel(), minlength=len(self.classes)) / _labels(result).size
        return [{**about, "shares": {self.classes[i]: float(counts[i]) for i in counts.nonzero()[0]}}]

    def draw(self, image: np.ndarray, result: Any) -> np.ndarray:
        """The classes' colours and names over the image."""
        if image.shape[:2] == (1, 1):  # mmseg's visualizer would treat a mask of one pixel as an index
            return image
        self.visualizer.add_datasample("", image, result, draw_gt=False)
        drawn: np.ndarray = self.visualizer.get_image()
        return drawn

    def label_map(self, result: Any) -> Image.Image:
        """The labels as values of an 8-bit image, with the classes' colours as its palette."""
        image = Image.fromarray((_labels(result) + self.first).astype(np.uint8))
        image.putpalette([channel for colour in [[0, 0, 0]] * self.first + self.palette for channel in colour])
        return image


def _labels(result: Any) -> np.ndarray:
    labels: np.ndarray = result.pred_sem_seg.data[0].cpu().numpy()
    return labels


def _named(meta: dict[str, Any], count: int) -> tuple[list[str], list[list[int]]]:
    """Names and colours of the classes; unknown names become `class 0`, ..., unknown colours evenly spaced hues."""
    names, palette = list(meta.get("classes") or ()), list(meta.get("palette") or ())
    if len(names) != count:
        names, palette = [f"class {i}" for i in range(count)], []
    if len(palette) != count:
        palette = [[int(255 * c) for c in colorsys.hsv_to_rgb(i / count, 0.8, 0.9)] for i in range(count)]
    return names, [list(colour) for colour in palette]
