"""Loading transforms that name the file at fault."""

from __future__ import annotations

from typing import Any

import numpy as np
from mmcv.transforms import LoadImageFromFile
from mmseg.datasets.transforms import LoadAnnotations
from mmseg.registry import TRANSFORMS

from gcisg_seg import checks


@TRANSFORMS.register_module()
class LoadCheckedImage(LoadImageFromFile):
    """mmcv's image loader, refusing what cannot be decoded and frames of a single colour.

    Args:
        imdecode_backend: Pillow refuses a truncated file; OpenCV returns it half grey without a word.
        **kwargs: As in mmcv's class.
    """

    def __init__(self, imdecode_backend: str = "pillow", **kwargs: Any) -> None:
        super().__init__(imdecode_backend=imdecode_backend, **kwargs)

    def transform(self, results: dict) -> dict:
        """Add `img` (H, W, 3) in BGR, `img_shape` and `ori_shape`. Raises `DataError`."""
        path = results["img_path"]
        try:
            results = super().transform(results)
        except Exception as error:  # whatever a decoder raises, the file is at fault
            raise checks.unreadable(path, error) from error
        checks.check_not_flat(path, results["img"])
        return results


@TRANSFORMS.register_module()
class LoadLabelIds(LoadAnnotations):
    """Read label values as they lie in the official files and map them to the 19 train IDs.

    The data set says by `label_table` which table holds (see `gcisg_seg.layouts.LABEL_TABLES`). Comes after
    `LoadCheckedImage`; with `Resize` between the two, only the image is resized, as mmseg's test pipelines want it.
    """

    def _load_seg_map(self, results: dict) -> None:
        """Add `gt_seg_map` (H, W), uint8. Raises `DataError`."""
        path = results["seg_map_path"]
        values = checks.read_label(path)
        checks.check_size(path, values.shape, results["ori_shape"][:2])
        train_ids = checks.to_train_ids(path, values, results["label_table"])
        if results.get("label_map"):  # the user chose some of the 19 classes
            chosen = np.arange(256, dtype=np.uint8)
            chosen[list(results["label_map"])] = list(results["label_map"].values())
            train_ids = chosen[train_ids]
        results["gt_seg_map"] = train_ids
        results["seg_fields"].append("gt_seg_map")
