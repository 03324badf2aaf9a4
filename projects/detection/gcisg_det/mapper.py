"""The framework's mapper, with the suite's reader of images."""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Any
from unittest import mock

import numpy as np
from detectron2.config import CfgNode
from detectron2.data import DatasetMapper, detection_utils
from PIL import Image

from gcisg_core.problems import DataError
from gcisg_suite.images import check_boxes_size, read_image

logger = logging.getLogger(f"detectron2.{__name__}")  # a child of the framework's logger, so that it uses its handlers


class CheckedMapper(DatasetMapper):
    """The framework's mapper; images come from :func:`gcisg_suite.images.read_image`."""

    def __call__(self, dataset_dict: dict[str, Any]) -> dict[str, Any]:
        """Map one data set dictionary to the model's input.

        Raises:
            DataError: the image cannot be read, or its size differs from the annotation's.
        """
        file, framework_read = dataset_dict["file_name"], detection_utils.read_image

        def read(name: str, format: str | None = None) -> np.ndarray:
            if name != file:  # a label image, whose values must not change
                labels: np.ndarray = framework_read(name, format)
                return labels
            image = read_image(file)
            size = image.shape[1::-1]
            check_boxes_size(file, size, (dataset_dict.get("width", size[0]), dataset_dict.get("height", size[1])))
            pixels: np.ndarray = detection_utils.convert_PIL_to_numpy(Image.fromarray(image), format)
            return pixels

        with mock.patch.object(detection_utils, "read_image", read):
            mapped: dict[str, Any] = super().__call__(dataset_dict)
            return mapped


class SkippingMapper:
    """Returns None for an unusable image, after a warning that names it; the loader then draws another image.

    Args:
        mapper: The mapper that does the work.
    """

    def __init__(self, mapper: CheckedMapper) -> None:
        self.mapper = mapper

    def __call__(self, dataset_dict: dict[str, Any]) -> dict[str, Any] | None:
        try:
            return self.mapper(dataset_dict)
        except DataError as error:
            logger.warning("Skipped: %s", error)
            return None


def build_mapper(cfg: CfgNode, is_train: bool) -> Callable[[dict], Any]:
    """The mapper of a config: geometry only, since the meta-architecture draws the photometric views."""
    mapper = CheckedMapper(**DatasetMapper.from_config(cfg, is_train))
    if not is_train or cfg.INPUT.ON_BAD_SAMPLE == "error":
        return mapper
    return SkippingMapper(mapper)
