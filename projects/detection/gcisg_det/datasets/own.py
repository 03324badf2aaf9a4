"""Own data in COCO's JSON format: :mod:`gcisg_suite.coco` reads it, and Detectron2's own reader makes the records."""

from __future__ import annotations

import contextlib
import functools
import io
import logging
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple
from unittest import mock

import pycocotools.coco
from detectron2.config import CfgNode
from detectron2.data import MetadataCatalog
from detectron2.data.datasets.coco import load_coco_json

from gcisg_core.files import is_file
from gcisg_core.problems import DataError
from gcisg_det.config import architecture
from gcisg_det.datasets.absent import SKIP, skipped_sets, skips_missing
from gcisg_suite.coco.findings import Level
from gcisg_suite.coco.load import CocoData, load_coco, read_categories, starting_folder
from gcisg_suite.images import check_boxes_size, displayed_size
from gcisg_suite.progress import shown_if_slow

logger = logging.getLogger(f"detectron2.{__name__}")  # a child of the framework's logger, so that it uses its handlers
IGNORED = 255  # value in label images for pixels without a class


class OwnData(NamedTuple):
    """An entry of `DATASETS.COCO`, with the settings of the config that affect how it is read.

    Attributes:
        name: Name of the data set.
        file: The JSON file.
        root: The folder of the images.
        masks: The mask format that the model takes, ``polygon`` or ``bitmask``; None without a mask head.
        trained: Whether it is in `DATASETS.TRAIN`.
        skips: Whether missing images are skipped.
        order: Source of the classes and their order: another JSON file, or names; None for its own categories.
        labels: The folder of its label images, if any.
        stuff: The classes of the label images, in the order of their numbers.
        boxes: Whether the model uses boxes.
    """

    name: str
    file: str
    root: str
    masks: str | None = None
    trained: bool = False
    skips: bool = False
    order: str | tuple[str, ...] | None = None
    labels: str = ""
    stuff: tuple[str, ...] = ()
    boxes: bool = True

    def read(self) -> CocoData:
        """The data for training, evaluation and analysis. A file is read again only if it changed.

        Raises:
            DataError: the file cannot be used, an image does not exist, or there is no box to train on.
        """
        path = Path(self.file)
        stamp = (path.stat().st_mtime_ns, path.stat().st_size) if path.is_file() else None
        return _read(self._replace(order=self._classes()), stamp)

    def _classes(self) -> tuple[str, ...] | None:
        """The classes in the order of the labels; None to use the order of the data's own categories."""
        if not isinstance(self.order, str) or self.order == self.file:
            return None if isinstance(self.order, str) else self.order
        if Path(self.order).is_file():
            return tuple(item["name"] for item in read_categories(self.order))
        logger.warning("%s: labels follow its own categories, as %s does not exist.", self.file, self.order)
        return None


@functools.lru_cache(maxsize=4)
def _read(own: OwnData, stamp: object) -> CocoData:
    data = load_coco(own.file, own.root, own.masks)
    for problem in data.findings.problems(Level.LEFT_OUT, Level.REPAIRED):
        logger.warning("%s", problem)
    if isinstance(own.order, tuple) and list(own.order) != data.classes:
        in_order = data.ordered(own.order)
        logger.warning("%s: its categories %s were matched by name with %s.", own.file, data.classes, [*own.order])
        data = in_order
    listed = shown_if_slow(data.images, f"checking the images of {own.file}")
    missing = [item["file_name"] for item in listed if not is_file(Path(own.root) / item["file_name"])]
    if skips_missing(own.skips, missing, len(data.images), own.file):
        data = _without(data, missing)
    elif missing:
        what = f"is listed in {own.file} but does not exist; {len(missing)} of {len(data.images)} images are missing"
        above = starting_folder(Path(own.root), missing[0]) or "the one that the file names are relative to"
        raise DataError(Path(own.root) / missing[0], what, f"Name the images' folder in DATASETS.COCO: {above}. {SKIP}")
    if not own.trained:
        _check_sizes(own, data)
    if own.trained and own.boxes and all(item["iscrowd"] for item in data.annotations):
        crowds = (
            f"all {len(data.annotations)} are iscrowd 1, which are groups" if data.annotations else "none is usable"
        )
        raise DataError(
            own.file, f"`annotations` has no box to train on: {crowds}", "Write iscrowd 0 for single objects"
        )
    return data


def _without(data: CocoData, names: list[str]) -> CocoData:
    """The data without the images of these names."""
    images = [item for item in data.images if item["file_name"] not in {*names}]
    ids = {item["id"] for item in images}
    return replace(data, images=images, annotations=[item for item in data.annotations if item["image_id"] in ids])


def _check_sizes(own: OwnData, data: CocoData) -> None:
    """Check for unreadable images and wrong sizes, which the evaluation would otherwise find only after training."""
    for item in shown_if_slow(data.images, f"checking the sizes of the images of {own.file}"):
        path = Path(own.root) / item["file_name"]
        check_boxes_size(path, displayed_size(path), (item["width"], item["height"]), "the JSON file")


def load_own(own: OwnData) -> list[dict[str, Any]]:
    """Detectron2's records; this also registers the classes. Raises as :meth:`OwnData.read`."""
    api = pycocotools.coco.COCO()
    api.dataset = own.read().content
    with contextlib.redirect_stdout(io.StringIO()):
        api.createIndex()
    with mock.patch.object(pycocotools.coco, "COCO", return_value=api):
        records: list[dict[str, Any]] = load_coco_json(own.file, own.root, own.name)
    for record in shown_if_slow(records if own.labels else (), f"checking the label images in {own.labels}"):
        label = Path(own.labels) / Path(record["file_name"]).relative_to(own.root).with_suffix(".png")
        if not label.is_file():
            raise DataError(
                label, f"the label image of {record['file_name']} does not exist", "Name the folder in SEM_SEG"
            )
        record["sem_seg_file_name"] = str(label)
        if not own.boxes:
            del record["annotations"]  # otherwise the framework would drop images without annotations
    return records


def keypoint_metadata(file: str) -> dict[str, Any]:
    """Detectron2's metadata for keypoints: names, pairs that are swapped by flipping (left, right), and connections.

    Raises:
        DataError: no category has `keypoints`, or categories have different ones.
    """
    lists = [item for item in read_categories(file) if item.get("keypoints")]
    names = lists[0]["keypoints"] if lists else []
    if not names or any(item["keypoints"] != names for item in lists):
        what = "`categories` name no keypoints" if not lists else "its categories name different keypoints"
        raise DataError(
            file, what, 'Write "keypoints": ["nose", "left_eye", ...] into the category, or MODEL.KEYPOINT_ON False'
        )
    mirrored = [(name, name.replace("left", "right")) for name in names if "left" in name]
    lines = [(names[a - 1], names[b - 1], (0, 114, 178)) for a, b in lists[0].get("skeleton", ())]
    return {
        "keypoint_names": list(names),
        "keypoint_flip_map": [pair for pair in mirrored if pair[1] in names],
        "keypoint_connection_rules": lines,
    }


def own_data_sets(cfg: CfgNode) -> list[OwnData]:
    """The entries of `DATASETS.COCO`. Their labels follow the first data set of `DATASETS.TRAIN`, matched by name.

    Raises:
        ValueError: an entry is not [name, json file, image folder].
    """
    for entry in cfg.DATASETS.COCO:
        if len(entry) != 3 or not all(isinstance(item, str) for item in entry):
            raise ValueError(f"DATASETS.COCO has the entry {entry!r}, expected [name, json file, image folder]")
    first = next(iter(cfg.DATASETS.TRAIN), "")
    order: Any = next((file for name, file, _ in cfg.DATASETS.COCO if name == first), None)
    if order is None:
        order = tuple(MetadataCatalog.get(first).get("thing_classes", ())) or None if first else None
    masks = cfg.INPUT.MASK_FORMAT if cfg.MODEL.MASK_ON else None
    trained, skipped = cfg.DATASETS.TRAIN, skipped_sets(cfg)
    stuff, boxes = _label_images(cfg), architecture(cfg) != "SemanticSegmentor"
    return [
        OwnData(name, file, root, masks, name in trained, name in skipped, order, *stuff.get(name, ("", ())), boxes)
        for name, file, root in cfg.DATASETS.COCO
    ]


def panoptic_metadata(cfg: CfgNode) -> dict[str, dict[str, Any]]:
    """Data set -> metadata for the evaluation of panoptic quality, from `DATASETS.PANOPTIC`.

    Raises:
        ValueError: an entry is not [name, json file, folder], or its data set has no label images.
        DataError: the file cannot be used, or lacks a class of the label images.
    """
    stuff = {name: classes for name, (_, classes) in _label_images(cfg).items()}
    found = {}
    for entry in cfg.DATASETS.PANOPTIC:
        fits = isinstance(entry, list | tuple) and len(entry) == 3 and all(isinstance(item, str) for item in entry)
        if not fits or entry[0] not in stuff:
            expected = (
                f"[name, panoptic JSON file, folder of its PNG files] with a name of DATASETS.SEM_SEG: {[*stuff]}"
            )
            raise ValueError(f"DATASETS.PANOPTIC has the entry {entry!r}, expected {expected}")
        name, file, folder = entry
        ids = {item["name"]: item["id"] for item in read_categories(file) if not item.get("isthing", 1)}
        classes = stuff[name][1:] if stuff[name][0] == "things" else stuff[name]
        if missing := [label for label in classes if label not in ids]:
            what = f"`categories` lack {', '.join(missing)} with isthing 0, which DATASETS.SEM_SEG has"
            raise DataError(file, what, "Use the same names in both")
        numbers = {ids[label]: stuff[name].index(label) for label in classes}
        metadata = {"panoptic_json": file, "panoptic_root": folder, "stuff_dataset_id_to_contiguous_id": numbers}
        found[name] = metadata
    return found


def _label_images(cfg: CfgNode) -> dict[str, tuple[str, tuple[str, ...]]]:
    """Data set -> folder and classes, from `DATASETS.SEM_SEG`."""
    known = [entry[0] for entry in cfg.DATASETS.COCO]
    found = {}
    for entry in cfg.DATASETS.SEM_SEG:
        fits = isinstance(entry, list | tuple) and len(entry) == 3 and all(isinstance(item, str) for item in entry)
        if not fits or entry[0] not in known:
            expected = f'[name, folder of the label images, "class, class, ..."] with a name of DATASETS.COCO: {known}'
            raise ValueError(f"DATASETS.SEM_SEG has the entry {entry!r}, expected {expected}")
        found[entry[0]] = entry[1], tuple(name.strip() for name in entry[2].split(","))
    return found
