"""The framework's mapper with colour jitter, and with errors that name the image."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torchvision.transforms as tv
import torchvision.transforms.functional as F
from detectron2.config import CfgNode
from detectron2.data import DatasetMapper
from detectron2.data import transforms as T
from detectron2.data.detection_utils import SizeMismatchError
from PIL import Image

from gcisg_core.problems import DataError

ADJUST = (F.adjust_brightness, F.adjust_contrast, F.adjust_saturation, F.adjust_hue)


def _jitter(image: np.ndarray, order: Sequence[int], factors: Sequence[float | None], bgr: bool) -> np.ndarray:
    # Detectron2's own colour augmentations weigh channels as RGB whatever the order is, so it is restored here.
    picture = Image.fromarray(np.ascontiguousarray(image[:, :, ::-1] if bgr else image))
    for i in order:
        if factors[i] is not None:
            picture = ADJUST[i](picture, factors[i])
    result = np.asarray(picture)
    return np.ascontiguousarray(result[:, :, ::-1]) if bgr else result


class ColorJitter(T.Augmentation):
    """torchvision's ColorJitter for images of Detectron2: (H, W, 3), uint8, `BGR` or `RGB`.

    Args:
        strengths: Of brightness, contrast, saturation and hue, each 0 or more.
        image_format: The config's `INPUT.FORMAT`.
    """

    def __init__(self, strengths: Sequence[float], image_format: str) -> None:
        super().__init__()
        if len(strengths) != 4 or image_format not in ("BGR", "RGB"):
            raise ValueError(f"INPUT.COLOR_JITTER={strengths!r}, INPUT.FORMAT={image_format!r}: expected 4 numbers "
                             "(brightness, contrast, saturation, hue) and BGR or RGB")  # fmt: skip
        self.jitter = tv.ColorJitter(*strengths)
        self.bgr = image_format == "BGR"

    def get_transform(self, image: np.ndarray) -> T.Transform:
        """Draws one jitter; the transform that is returned is deterministic."""
        jitter = self.jitter
        order, *factors = jitter.get_params(jitter.brightness, jitter.contrast, jitter.saturation, jitter.hue)
        order = order.tolist()
        return T.ColorTransform(lambda image: _jitter(image, order, factors, self.bgr))


class CarMapper(DatasetMapper):
    """The framework's mapper; a damaged image is named with a remedy."""

    def __call__(self, dataset_dict: dict[str, Any]) -> dict[str, Any]:
        """Maps one data set dictionary to the model's input.

        Raises:
            DataError: The image is missing, cannot be decoded, or its size is not that of the annotation.
        """
        try:
            return super().__call__(dataset_dict)
        except (OSError, SyntaxError, SizeMismatchError) as error:
            what = f"the image cannot be used ({' '.join(str(error).split())})"
            raise DataError(dataset_dict["file_name"], what, "Unpack this image again from its download") from error


def build_mapper(cfg: CfgNode, is_train: bool) -> Callable[[dict], dict]:
    """The mapper of a config; `INPUT.COLOR_JITTER` acts last and in training only."""
    arguments = DatasetMapper.from_config(cfg, is_train)
    if is_train and any(cfg.INPUT.COLOR_JITTER):
        arguments["augmentations"].append(ColorJitter(cfg.INPUT.COLOR_JITTER, cfg.INPUT.FORMAT))
    return CarMapper(**arguments)
