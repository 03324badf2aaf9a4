"""Images and label images of one's own, with classes and colours of one's own."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from mmseg.datasets import BaseSegDataset
from mmseg.datasets.transforms import LoadAnnotations
from mmseg.registry import DATASETS, TRANSFORMS

from gcisg_core.config import require
from gcisg_core.problems import DataError
from gcisg_seg import checks
from gcisg_seg.layouts import find_pairs, own_layout


@DATASETS.register_module()
class ImageLabelDataset(BaseSegDataset):
    """Pairs of equal name in a folder of images and a folder of labels, subfolders included.

    Args:
        data_root: Holds both folders.
        metainfo: ``classes``, their names in the order of the label values, and ``palette``, a colour (R, G, B) each,
            which colour labels need.
        data_prefix: The folders; ``images`` and ``labels`` unless given.
        img_suffix: How images end.
        seg_map_suffix: How labels end.
        domain: The name under which `DomainIoUMetric` reports; that of the folder unless given.
        **kwargs: As in mmseg's `BaseSegDataset`.

    Raises:
        DataError: No image, or one without its partner.
        ValueError: ``metainfo`` has no classes, or a palette of another length.
    """

    def __init__(
        self,
        data_root: str,
        metainfo: dict[str, Any],
        data_prefix: dict[str, str] | None = None,
        img_suffix: str = ".png",
        seg_map_suffix: str = ".png",
        domain: str | None = None,
        **kwargs: Any,
    ) -> None:
        classes: Sequence[str] = metainfo.get("classes") or ()
        palette: Sequence[Sequence[int]] | None = metainfo.get("palette")
        require(
            bool(classes), "metainfo.classes", classes, "the names of the classes, in the order of the label values"
        )
        require(palette is None or len(palette) == len(classes), "metainfo.palette", palette, f"{len(classes)} colours")
        self.domain = domain or Path(data_root).name
        self.colours = None if palette is None else [tuple(colour) for colour in palette]
        super().__init__(
            data_root=data_root,
            metainfo=metainfo,
            data_prefix={"img_path": "images", "seg_map_path": "labels", **(data_prefix or {})},
            img_suffix=img_suffix,
            seg_map_suffix=seg_map_suffix,
            **kwargs,
        )

    def load_data_list(self) -> list[dict]:
        """List the pairs; see `BaseSegDataset`. Raises `DataError`."""
        images, labels = (Path(self.data_prefix[key]) for key in ("img_path", "seg_map_path"))
        pairs, problems = find_pairs(images, labels, own_layout(self.img_suffix, self.seg_map_suffix))
        if problems:
            first = problems[0]
            raise DataError(first.file, first.what, f"{first.remedy}. tools/new_project.py lists every fault")
        shared = {
            "classes": len(self.metainfo["classes"]),
            "colours": self.colours,
            "domain": self.domain,
            "reduce_zero_label": self.reduce_zero_label,
        }
        return [{"img_path": p.image, "seg_map_path": p.label, **shared, "seg_fields": []} for p in pairs]


@TRANSFORMS.register_module()
class LoadClassLabels(LoadAnnotations):
    """Read a label of :class:`ImageLabelDataset`; comes after `LoadCheckedImage`."""

    def _load_seg_map(self, results: dict) -> None:
        """Add `gt_seg_map` (H, W), uint8. Raises `DataError`."""
        path = results["seg_map_path"]
        values = checks.read_own_label(path)
        checks.check_size(path, values.shape[:2], results["img_path"], results["ori_shape"][:2])
        numbers = checks.to_class_numbers(path, values, results["classes"], results["colours"])
        results["gt_seg_map"] = numbers
        results["seg_fields"].append("gt_seg_map")
