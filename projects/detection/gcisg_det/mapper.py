"""The framework's mapper with errors that name the image."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from detectron2.config import CfgNode
from detectron2.data import DatasetMapper
from detectron2.data.detection_utils import SizeMismatchError

from gcisg_core.problems import DataError


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
    """The mapper of a config: geometry only, since the meta-architecture draws the photometric views."""
    return CarMapper(**DatasetMapper.from_config(cfg, is_train))
