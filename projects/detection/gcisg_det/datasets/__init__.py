"""Registers data sets under the names that configs use, and the user's own data in COCO's JSON format.

Names: `sim10k_trainval_car`, `cityscapes_<train|val|test>_car_<coco|da_faster>`. Their root is the config key
`DATASETS.ROOT`, or else the environment variable `GCISG_DATA`, or else `data`; it contains `sim10k/VOC2012` and
`cityscapes`. Own data needs two lines of config (and `MODEL.ROI_HEADS.NUM_CLASSES` if there is more than one class):

    DATASETS:
      COCO: [["my_train", "my/annotations/train.json", "my/images"]]
      TRAIN: ("my_train",)

Data in another format: :mod:`gcisg_det.datasets.formats`.
"""

from __future__ import annotations

import contextlib
import functools
from collections.abc import Collection, Sequence
from pathlib import Path

from detectron2.config import CfgNode
from detectron2.data import DatasetCatalog, MetadataCatalog

from gcisg_suite import places
from gcisg_suite.coco.load import read_categories

from . import cityscapes, sim10k
from .absent import skipped_sets
from .formats import own_formats
from .own import IGNORED, OwnData, keypoint_metadata, load_own, own_data_sets, panoptic_metadata

SPLITS = ("train", "val", "test")  # Cityscapes does not publish the labels of its test split; the miniature has some


def data_root(root: str = "") -> Path:
    """The folder of all data sets: `root`, or else `$GCISG_DATA`, or else `data`."""
    return Path(root) if root else places.data_root()


def _load_sim10k(root: str, skips: bool) -> list[dict]:
    return sim10k.load_sim10k(data_root(root) / "sim10k" / "VOC2012", skips=skips)


def _load_cityscapes(root: str, split: str, convention: str, skips: bool) -> list[dict]:
    return cityscapes.load_cityscapes_cars(data_root(root) / "cityscapes", split, convention, skips)


def _register(name: str, load: functools.partial, **metadata: object) -> None:
    if name in DatasetCatalog.list():
        DatasetCatalog.remove(name)
        MetadataCatalog.remove(name)
    DatasetCatalog.register(name, load)
    MetadataCatalog.get(name).set(**{"evaluator_type": "coco", **metadata})


def register_datasets(root: str = "", skipped: Collection[str] = ()) -> None:
    """Register Sim10k and Cityscapes, replacing an earlier registration. The root is resolved when data are read.

    Args:
        root: As in :func:`data_root`.
        skipped: Names of the data sets that skip missing images.
    """
    load = functools.partial(_load_sim10k, root, "sim10k_trainval_car" in skipped)
    _register("sim10k_trainval_car", load, thing_classes=["car"], convention="voc")
    for split in SPLITS:
        for convention in cityscapes.CONVENTIONS:
            name = f"cityscapes_{split}_car_{convention}"
            load = functools.partial(_load_cityscapes, root, split, convention, name in skipped)
            _register(name, load, thing_classes=["car"], convention=convention)


def setup_datasets(cfg: CfgNode) -> None:
    """Register the data sets of a config: the known ones below its root, and own data.

    Raises:
        ValueError: an entry of `DATASETS.COCO` is not [name, json file, image folder], or an entry of `DATASETS.OWN`
            does not have the fields of its format.
    """
    for name, read, metadata in own_formats(cfg):
        _register(name, read, **metadata)
    register_datasets(cfg.DATASETS.ROOT, skipped_sets(cfg))
    panoptic = panoptic_metadata(cfg)
    for own in own_data_sets(cfg):
        metadata = keypoint_metadata(own.file) if cfg.MODEL.KEYPOINT_ON and Path(own.file).is_file() else {}
        if own.stuff:
            metadata |= {"stuff_classes": list(own.stuff), "ignore_label": IGNORED, **panoptic.get(own.name, {})}
        _register(own.name, functools.partial(load_own, own), own=own, convention="own", **metadata)


def register_coco(name: str, file: str, images: str, classes: Sequence[str] | None = None) -> None:
    """Register own data in COCO's format under a name, without `DATASETS.COCO`; for LazyConfigs.

    Args:
        name: Name of the data set.
        file: The JSON file.
        images: The folder of the images.
        classes: The classes in the order of the labels; by default the file's own order.

    Raises:
        DataError: the file exists but cannot be used. A missing file is reported when the data are read.
    """
    own = OwnData(name, file, images, order=tuple(classes) if classes else None, masks="polygon")
    keypoints = Path(file).is_file() and any(item.get("keypoints") for item in read_categories(file))
    metadata = keypoint_metadata(file) if keypoints else {}
    _register(name, functools.partial(load_own, own), own=own, convention="own", **metadata)


def class_ids(cfg: CfgNode) -> dict[str, int]:
    """:func:`class_ids_of` for a config's first data set; also empty if its JSON file is not on this machine.

    Raises:
        DataError: the JSON file cannot be used.
    """
    return class_ids_of(next(iter((*cfg.DATASETS.TRAIN, *cfg.DATASETS.TEST)), ""))


def class_ids_of(name: str) -> dict[str, int]:
    """Class name -> category id in COCO's form, for a registered data set, in the order of the labels.

    Empty if the classes are unknown: there is no such data set, or its JSON file is not on this machine.

    Raises:
        DataError: the JSON file cannot be used.
    """
    metadata = MetadataCatalog.get(name) if name in DatasetCatalog.list() else None
    if metadata is None:
        return {}
    if own := metadata.get("own"):
        found = {item["name"]: item["id"] for item in read_categories(own.file)} if Path(own.file).is_file() else {}
        return {item: found[item] for item in own.order if item in found} if isinstance(own.order, tuple) else found
    if not metadata.get("thing_classes"):
        with contextlib.suppress(Exception):  # errors of data that the user's code registered; only names are needed
            DatasetCatalog.get(name)
    ids = {label: number for number, label in metadata.get("thing_dataset_id_to_contiguous_id", {}).items()}
    return {item: ids.get(label, label) for label, item in enumerate(metadata.get("thing_classes", ()))}
