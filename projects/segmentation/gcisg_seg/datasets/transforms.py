"""Loading transforms whose errors name the file."""

from __future__ import annotations

from typing import Any

import mmcv.transforms
import numpy as np
from mmseg.datasets.transforms import LoadAnnotations
from mmseg.registry import TRANSFORMS

from gcisg_core.problems import DataError
from gcisg_seg import checks
from gcisg_suite.images import read_image


@TRANSFORMS.register_module(force=True)
class LoadImageFromFile(mmcv.transforms.LoadImageFromFile):
    """Replaces mmcv's image loader in all pipelines of mmseg; reads with :func:`gcisg_suite.images.read_image`.

    A plain config, or one that names mmcv's loader, thus gets the same pixels as the audit and `gcisg predict`.

    Args:
        **kwargs: As in mmcv's class. `imdecode_backend` has no effect. With a `color_type` other than "color", or with
            `backend_args`, mmcv reads the image.
    """

    def transform(self, results: dict[str, Any]) -> dict[str, Any] | None:
        """Add `img` (H, W, 3) in BGR, `img_shape` and `ori_shape`. Raises `DataError`."""
        if self.color_type != "color" or self.backend_args:
            loaded: dict[str, Any] | None = super().transform(results)
            return loaded
        try:
            image = read_image(results["img_path"])
        except DataError:
            if self.ignore_empty:
                return None
            raise
        results["img"] = np.ascontiguousarray(image[..., ::-1], np.float32 if self.to_float32 else np.uint8)
        results["img_shape"] = results["ori_shape"] = image.shape[:2]
        return results


@TRANSFORMS.register_module()
class LoadCheckedImage(LoadImageFromFile):
    """The image loader, which also refuses images of a single colour."""

    def transform(self, results: dict[str, Any]) -> dict[str, Any] | None:
        """As the parent's. Raises `DataError`."""
        loaded = super().transform(results)
        if loaded is not None:
            checks.check_not_flat(loaded["img_path"], loaded["img"])
        return loaded


@TRANSFORMS.register_module()
class LoadLabelIds(LoadAnnotations):
    """Read the label values of the official files and map them to the 19 train IDs.

    The data set names the table in `label_table` (see `gcisg_seg.layouts.LABEL_TABLES`). Must come after
    `LoadCheckedImage`; with `Resize` between the two, only the image is resized, as in mmseg's test pipelines.
    """

    def _load_seg_map(self, results: dict) -> None:
        """Add `gt_seg_map` (H, W), uint8. Raises `DataError`."""
        path = results["seg_map_path"]
        values = checks.read_label(path, results["label_table"])
        checks.check_size(path, values.shape, results["img_path"], results["ori_shape"][:2])
        train_ids = checks.to_train_ids(path, values, results["label_table"])
        if results.get("label_map"):  # the user chose some of the 19 classes
            chosen = np.arange(256, dtype=np.uint8)
            chosen[list(results["label_map"])] = list(results["label_map"].values())
            train_ids = chosen[train_ids]
        results["gt_seg_map"] = train_ids
        results["seg_fields"].append("gt_seg_map")
