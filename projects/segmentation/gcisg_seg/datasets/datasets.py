"""Street scenes in the 19 classes of Cityscapes, read as their official downloads lie on disk."""

from __future__ import annotations

from pathlib import Path
from typing import Any, ClassVar

from mmseg.datasets import BaseSegDataset, CityscapesDataset
from mmseg.registry import DATASETS

from gcisg_seg.datasets.bad_samples import BadSamples
from gcisg_seg.layouts import IGNORED, LAYOUTS, find_pairs
from gcisg_seg.splits import gtav_split, names_in


class _StreetScenes(BadSamples, BaseSegDataset):
    """Pairs of images and labels in an official layout.

    Args:
        data_root: The folder that contains the layout's folders.
        split: One of the layout's splits.
        on_bad_sample: As in :class:`gcisg_seg.datasets.bad_samples.BadSamples`.
        domain: Name of the domain in the results of `DomainIoUMetric`; by default the layout's name.
        data_prefix: Folders relative to `data_root`, if they are not the official ones.
        **kwargs: As in mmseg's `BaseSegDataset`.

    Raises:
        DataError: there is no image, or a file has no counterpart; names the folder that was searched.
        ValueError: an argument has an invalid value, or overrides what the official label tables define.
    """

    METAINFO = CityscapesDataset.METAINFO
    LAYOUT: ClassVar[str]

    def __init__(
        self,
        data_root: str,
        split: str,
        domain: str | None = None,
        data_prefix: dict | None = None,
        **kwargs: Any,
    ) -> None:
        self.layout = LAYOUTS[self.LAYOUT]
        if split not in self.layout.splits:
            raise ValueError(f"split is {split!r}; {type(self).__name__} has {self.layout.splits}")
        for name, plain in (("reduce_zero_label", False), ("ignore_index", IGNORED)):
            if kwargs.get(name, plain) != plain:
                what = f"the official tables say which values have no class, and mark them by {IGNORED}"
                raise ValueError(f"{name} is {kwargs[name]!r}; {type(self).__name__} has no such option: {what}")
        self.split = split
        self.domain = domain or self.LAYOUT
        folders = {"img_path": self.layout.image_dir, "seg_map_path": self.layout.label_dir, **(data_prefix or {})}
        super().__init__(
            data_root=data_root,
            data_prefix={key: folder.format(split=split) for key, folder in folders.items()},
            img_suffix=self.layout.image_suffix,
            seg_map_suffix=" or ".join(self.layout.label_suffixes),  # only for display; `find_pairs` applies them
            **kwargs,
        )

    def names(self) -> set[str] | None:
        """The names (without suffix) in `ann_file`, to which the images are restricted; None for all."""
        return names_in(self.ann_file)

    def load_data_list(self) -> list[dict]:
        """List the pairs; see `BaseSegDataset`. Raises `DataError`."""
        image_dir, label_dir = (Path(self.data_prefix[key]) for key in ("img_path", "seg_map_path"))
        pairs = self.usable(find_pairs(image_dir, label_dir, self.layout, self.names()))
        return [
            {
                "img_path": pair.image,
                "seg_map_path": pair.label,
                "label_table": pair.table,
                "domain": self.domain,
                "label_map": self.label_map,
                "reduce_zero_label": self.reduce_zero_label,
                "seg_fields": [],
            }
            for pair in pairs
        ]


@DATASETS.register_module()
class GTAVDataset(_StreetScenes):
    """GTA5 (Playing for Data): `images/` and palette label images in `labels/`.

    Args:
        data_root: Contains both folders, and `split.mat` if `split` is not "all".
        split: `"all"` (the usual training set, 24,966 images), or `"train"`, `"val"`, `"test"` of `split.mat`.
        **kwargs: As in `_StreetScenes`.
    """

    LAYOUT = "gtav"

    def __init__(self, data_root: str, split: str = "all", **kwargs: Any) -> None:
        super().__init__(data_root, split, **kwargs)

    def names(self) -> set[str] | None:
        return super().names() if self.split == "all" else gtav_split(Path(self.data_root), self.split)


@DATASETS.register_module()
class CityscapesLabelIdsDataset(_StreetScenes):
    """Cityscapes with the `labelIds` files of the download; `labelTrainIds` files are used if they exist."""

    LAYOUT = "cityscapes"


@DATASETS.register_module()
class BDD100KLabelIdsDataset(_StreetScenes):
    """BDD100K's 10k images with semantic masks, which already hold train IDs."""

    LAYOUT = "bdd100k"


@DATASETS.register_module()
class BDD100KSegDataset(_StreetScenes):
    """BDD100K in the older folders, `seg/images` and `seg/labels/<split>/*_train_id.png`."""

    LAYOUT = "bdd100k_seg"


@DATASETS.register_module()
class FoggyCityscapesDataset(_StreetScenes):
    """Foggy Cityscapes with a fog density of 0.02 and Cityscapes' labels."""

    LAYOUT = "foggy_cityscapes"


@DATASETS.register_module()
class ACDCDataset(_StreetScenes):
    """ACDC; a split names a condition and a part, such as `"fog/val"`."""

    LAYOUT = "acdc"


@DATASETS.register_module()
class SHIFTDataset(_StreetScenes):
    """SHIFT's discrete images of the front camera, with the 13 of Cityscapes' classes that its tags distinguish."""

    LAYOUT = "shift"


@DATASETS.register_module()
class SYNTHIADataset(_StreetScenes):
    """SYNTHIA-RAND-CITYSCAPES: `RGB` and `GT/LABELS`, in Cityscapes' classes; the split is `"all"`."""

    LAYOUT = "synthia"


@DATASETS.register_module()
class MapillaryCityscapesDataset(_StreetScenes):
    """Mapillary Vistas 1.2 in the 19 classes of Cityscapes."""

    LAYOUT = "mapillary"
