"""The user's own images and label images, with their own classes and colours."""

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
from gcisg_seg.datasets.bad_samples import BadSamples
from gcisg_seg.layouts import IGNORED, Suffix, find_pairs, own_layout
from gcisg_seg.own_labels import LabelRule, class_numbers
from gcisg_seg.splits import names_in
from gcisg_suite.folders import list_files

LOADING = ("LoadAnnotations", "LoadClassLabels", "LoadLabelIds")  # steps that load labels


@DATASETS.register_module()
class ImageLabelDataset(BadSamples, BaseSegDataset):
    """Pairs with the same name in a folder of images and a folder of labels, including subfolders.

    Args:
        data_root: The folder that contains both.
        metainfo: ``classes``, their names in the order of the label values, and optionally ``palette``, a colour (R,
            G, B) for each class. With it, colour labels and indexed labels are read by their colours.
        data_prefix: The folders; by default ``images`` and ``labels``.
        img_suffix: One or several suffixes of images, in upper or lower case; by default any image suffix.
        seg_map_suffix: The same for labels.
        domain: Name of the domain in the results of `DomainIoUMetric`; by default the name of the folder.
        label_values: The value of each class in the files, such as (0, 255); by default 0, 1, ...
        reduce_zero_label: Whether 0 means no class and 1 the first class.
        ignore_index: Another value in the files that means no class, in addition to 255. Loaded labels have 255 there.
        on_bad_sample: As in :class:`gcisg_seg.datasets.bad_samples.BadSamples`.
        **kwargs: As in mmseg's `BaseSegDataset`.

    Raises:
        DataError: there is no image, or a file has no counterpart.
        ValueError: ``metainfo`` has no classes, or a setting does not fit them.
    """

    def __init__(
        self,
        data_root: str,
        metainfo: dict[str, Any],
        data_prefix: dict[str, str] | None = None,
        img_suffix: Suffix = None,
        seg_map_suffix: Suffix = None,
        domain: str | None = None,
        label_values: Sequence[int] | None = None,
        reduce_zero_label: bool = False,
        ignore_index: int = IGNORED,
        **kwargs: Any,
    ) -> None:
        classes: Sequence[str] = metainfo.get("classes") or ()
        require(
            bool(classes), "metainfo.classes", classes, "the names of the classes, in the order of the label values"
        )
        palette: Sequence[Sequence[int]] = metainfo.get("palette") or ()
        self.rule = LabelRule(
            len(classes),
            tuple((red, green, blue) for red, green, blue in palette) or None,
            None if label_values is None else tuple(label_values),
            reduce_zero_label,
            ignore_index,
        )
        self.domain = domain or Path(data_root).name
        super().__init__(
            data_root=data_root,
            # Without a palette mmseg makes one up for its pictures; with None it fails.
            metainfo={key: value for key, value in metainfo.items() if value is not None},
            data_prefix={"img_path": "images", "seg_map_path": "labels", **(data_prefix or {})},
            img_suffix=img_suffix,
            seg_map_suffix=seg_map_suffix,
            reduce_zero_label=reduce_zero_label,
            **kwargs,
        )

    def load_data_list(self) -> list[dict]:
        """List the pairs; see `BaseSegDataset`. Raises `DataError`."""
        images, labels = (Path(self.data_prefix[key]) for key in ("img_path", "seg_map_path"))
        layout = own_layout(self.img_suffix, self.seg_map_suffix)
        pairs = self.usable(find_pairs(images, labels, layout, names_in(self.ann_file)))
        shared = {"label_rule": self.rule, "domain": self.domain, "reduce_zero_label": self.reduce_zero_label}
        return [{"img_path": p.image, "seg_map_path": p.label, **shared, "seg_fields": []} for p in pairs]


@DATASETS.register_module()
class UnlabelledImageDataset(ImageLabelDataset):
    """Images without labels, for prediction, analysis and the choice of a checkpoint; not for training.

    Args:
        pipeline: The pipeline; steps that load labels are removed.
        **kwargs: As in :class:`ImageLabelDataset`.

    Raises:
        DataError: there is no image.
    """

    def __init__(self, pipeline: Sequence[dict[str, Any]] = (), **kwargs: Any) -> None:
        super().__init__(pipeline=[step for step in pipeline if step["type"] not in LOADING], **kwargs)

    def load_data_list(self) -> list[dict]:
        """List the images; see `BaseSegDataset`. Raises `DataError`."""
        folder = Path(self.data_prefix["img_path"])
        wanted = names_in(self.ann_file)
        suffixes = own_layout(self.img_suffix).image_suffix
        names = [
            name
            for name in list_files(folder).files
            for suffix in suffixes
            if name.lower().endswith(suffix.lower()) and (wanted is None or name[: len(name) - len(suffix)] in wanted)
        ]
        if not names:
            what = f"0 images: nothing here is named *{' or *'.join(suffixes)}"
            raise DataError(folder, what, "Name the folder of the images")
        shared = {"domain": self.domain, "reduce_zero_label": self.reduce_zero_label}
        return [{"img_path": str(folder / name), **shared, "seg_fields": []} for name in names]


@TRANSFORMS.register_module()
class LoadClassLabels(LoadAnnotations):
    """Read a label of :class:`ImageLabelDataset` by its rule; must come after `LoadCheckedImage`."""

    def _load_seg_map(self, results: dict) -> None:
        """Add `gt_seg_map` (H, W), uint8. Raises `DataError`."""
        path, given = results["seg_map_path"], self.reduce_zero_label
        is_same = given is None or given == results["reduce_zero_label"]
        require(is_same, "LoadClassLabels.reduce_zero_label", given, "that of the data set, or left out")
        label = checks.read_own_label(path)
        checks.check_size(path, label.shape[:2], results["img_path"], results["ori_shape"][:2])
        results["gt_seg_map"] = class_numbers(path, label, results["label_rule"])
        results["seg_fields"].append("gt_seg_map")
