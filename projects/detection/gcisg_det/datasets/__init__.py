"""Data sets under the names that configs use, and own data in COCO's JSON format.

Names: `sim10k_trainval_car`, `cityscapes_<train|val|test>_car_<coco|da_faster>`. Their root is the config key
`DATASETS.ROOT`, else the environment variable `GCISG_DATA`, else `data`; below it lie `sim10k/VOC2012` and
`cityscapes`. Own data needs two lines of config (and `MODEL.ROI_HEADS.NUM_CLASSES` where it is not 1):

    DATASETS:
      COCO: [["my_train", "my/annotations/train.json", "my/images"]]
      TRAIN: ("my_train",)

Data in another format: :mod:`gcisg_det.datasets.formats`.
"""

from __future__ import annotations

import functools
import json
from pathlib import Path

from detectron2.config import CfgNode
from detectron2.data import DatasetCatalog, MetadataCatalog
from detectron2.data.datasets.coco import load_coco_json

from gcisg_core.problems import DataError
from gcisg_suite import places

from . import cityscapes, sim10k
from .formats import own_formats

REMEDY = "Write the file in COCO's format for detection"
SPLITS = ("train", "val", "test")  # Cityscapes keeps the labels of its test images; the miniature has some


def data_root(root: str = "") -> Path:
    """The folder of all data sets: `root`, else `$GCISG_DATA`, else `data`."""
    return Path(root) if root else places.data_root()


def _load_sim10k(root: str) -> list[dict]:
    return sim10k.load_sim10k(data_root(root) / "sim10k" / "VOC2012")


def _load_cityscapes(root: str, split: str, convention: str) -> list[dict]:
    return cityscapes.load_cityscapes_cars(data_root(root) / "cityscapes", split, convention)


def read_coco(json_file: str) -> dict[str, list[dict]]:
    """Reads a JSON file in COCO's format. Raises `DataError` if it is none, or has no image, box or category."""
    try:
        content = json.loads(Path(json_file).read_text())
    except (OSError, ValueError) as error:
        raise DataError(json_file, f"cannot be read as JSON ({error})", REMEDY) from error
    for field in ("images", "annotations", "categories"):
        # Images to choose a checkpoint on need no annotations; for training the framework asks for some.
        empty = field == "annotations" and isinstance(content, dict) and content.get(field) == []
        if not isinstance(content, dict) or not (content.get(field) or empty):
            raise DataError(json_file, f"`{field}` is missing or empty, expected a list of objects", REMEDY)
    return content


def coco_classes(json_file: str) -> list[str]:
    """The names of a COCO JSON's categories, in the order of their IDs, which is that of the labels in training."""
    try:
        return [item["name"] for item in sorted(read_coco(json_file)["categories"], key=lambda item: item["id"])]
    except (KeyError, TypeError) as error:
        raise DataError(json_file, f"a category has no id or name ({error!r})", REMEDY) from error


def dataset_classes(name: str) -> list[str]:
    """The classes of a registered data set, also before it was loaded; empty where nothing tells."""
    metadata = MetadataCatalog.get(name)
    file = metadata.get("json_file")
    return metadata.get("thing_classes") or (coco_classes(file) if file else [])


def load_coco(name: str, json_file: str, image_root: str) -> list[dict]:
    """Detectron2's records of a COCO JSON. Raises `DataError` if it is none, or an image does not exist."""
    read_coco(json_file)
    try:
        records = load_coco_json(json_file, image_root, name)
    except (KeyError, IndexError, TypeError, AssertionError) as error:
        what = f"does not follow COCO's format ({type(error).__name__}: {error})"
        raise DataError(json_file, what, REMEDY) from error
    missing = next((item["file_name"] for item in records if not Path(item["file_name"]).is_file()), None)
    if missing:
        raise DataError(missing, f"is listed in {json_file} but does not exist", "Name its folder in DATASETS.COCO")
    return records


def _register(name: str, load: functools.partial, **metadata: object) -> None:
    if name in DatasetCatalog.list():
        DatasetCatalog.remove(name)
        MetadataCatalog.remove(name)
    DatasetCatalog.register(name, load)
    MetadataCatalog.get(name).set(evaluator_type="coco", **metadata)


def register_datasets(root: str = "") -> None:
    """Registers Sim10k and Cityscapes; a second call replaces the first. The root is looked up when data are read."""
    load = functools.partial(_load_sim10k, root)
    _register("sim10k_trainval_car", load, thing_classes=["car"], convention="voc")
    for split in SPLITS:
        for convention in cityscapes.CONVENTIONS:
            load = functools.partial(_load_cityscapes, root, split, convention)
            name = f"cityscapes_{split}_car_{convention}"
            _register(name, load, thing_classes=["car"], convention=convention)


def setup_datasets(cfg: CfgNode) -> None:
    """Registers what a config names: the root of the known data sets, and own data in COCO's format.

    Raises:
        ValueError: An entry of `DATASETS.COCO` is not [name, json file, image folder], or one of `DATASETS.OWN` not
            what its format takes.
    """
    for own, read, metadata in own_formats(cfg):
        _register(own, read, **metadata)
    register_datasets(cfg.DATASETS.ROOT)
    for entry in cfg.DATASETS.COCO:
        if len(entry) != 3 or not all(isinstance(item, str) for item in entry):
            raise ValueError(f"DATASETS.COCO has the entry {entry!r}, expected [name, json file, image folder]")
        name, json_file, image_root = entry
        # `image_root` tells the evaluator that the ground truth is in COCO's form already.
        load = functools.partial(load_coco, *entry)
        _register(name, load, json_file=json_file, image_root=image_root, convention="own")


def class_ids(cfg: CfgNode) -> dict[str, int]:
    """Class name -> category id in COCO's form, of a config's first data set, in the order of the labels.

    Empty where they are not known here: no data set is named, or its own JSON file is not on this machine.
    """
    name = next(iter((*cfg.DATASETS.TRAIN, *cfg.DATASETS.TEST)), "")
    file = next((entry[1] for entry in cfg.DATASETS.COCO if entry[0] == name), None)
    if file is not None:
        if not Path(file).is_file():
            return {}
        categories = json.loads(Path(file).read_text())["categories"]
        return {item["name"]: item["id"] for item in sorted(categories, key=lambda item: item["id"])}
    metadata = MetadataCatalog.get(name) if name in DatasetCatalog.list() else None
    if metadata is None:
        return {}
    ids = {label: number for number, label in metadata.get("thing_dataset_id_to_contiguous_id", {}).items()}
    return {item: ids.get(label, label) for label, item in enumerate(metadata.get("thing_classes", ()))}
