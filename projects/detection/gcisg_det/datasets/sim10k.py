"""Reads the cars of Sim10k from the VOC folders of the download.

Published boxes count pixels from 1 and include both ends. Detectron2's boxes are half-open and count from 0, so
(xmin, ymin, xmax, ymax) becomes (xmin - 1, ymin - 1, xmax, ymax), as in Detectron2's own Pascal VOC reader.
"""

from __future__ import annotations

import logging
import math
import os
import xml.etree.ElementTree as ET
from dataclasses import dataclass
from pathlib import Path

from detectron2.structures import BoxMode

from gcisg_core.problems import DataError, reading
from gcisg_suite.coco.findings import Findings, Level
from gcisg_suite.coco.values import Box, clip, shown
from gcisg_suite.images import most_pixels
from gcisg_suite.progress import shown_if_slow
from gcisg_suite.text import read_text

from .absent import SKIP, skips_missing

logger = logging.getLogger(f"detectron2.{__name__}")  # a child of the framework's logger, so that it uses its handlers

CLASSES = ("car", "motorbike", "person")
DOWNLOAD = (
    "Download the images and the annotations of Sim10k (`repro_10k_images`, `repro_10k_annotations` of 'Driving in the "
    "Matrix') and unpack both so that {folder} holds JPEGImages/*.jpg, Annotations/*.xml and "
    "ImageSets/Main/trainval10k.txt"
)
DAMAGED = "Unpack the annotations of Sim10k again"


@dataclass(frozen=True)
class VocObject:
    """One annotated object; `box` as published: (xmin, ymin, xmax, ymax), counted from 1, both ends included."""

    name: str
    difficult: bool
    box: Box


def _number(node: ET.Element, field: str, file: Path, where: str) -> float:
    text = node.findtext(field)
    try:
        value = float(text or "")
    except ValueError:
        value = math.nan
    if not math.isfinite(value):
        raise DataError(file, f"{where}/{field} is {shown(text)}, expected a number", DAMAGED)
    return value


def parse_annotation(file: Path) -> tuple[int, int, list[VocObject]]:
    """Read one annotation file.

    Returns:
        Width and height of the image in pixels, and its objects.

    Raises:
        DataError: the file is missing or not valid XML, or a field is missing or not a number.
    """
    with reading(file, "XML", DAMAGED):
        root = ET.parse(file).getroot()
    size = root.find("size")
    if size is None:
        raise DataError(file, "the field `size` is missing, expected size/{width, height}", DAMAGED)
    width, height = (int(_number(size, field, file, "size")) for field in ("width", "height"))
    if width <= 0 or height <= 0 or width * height > most_pixels():
        what = f"size is {width} x {height}, expected positive numbers of at most {most_pixels()} pixels"
        raise DataError(file, what, DAMAGED)
    objects = []
    for i, node in enumerate(root.findall("object")):
        name, box = node.findtext("name"), node.find("bndbox")
        if name not in CLASSES:
            raise DataError(file, f"object[{i}]/name is {shown(name)}, expected one of {', '.join(CLASSES)}", DAMAGED)
        if box is None:
            raise DataError(file, f"object[{i}]/bndbox is missing, expected {{xmin, ymin, xmax, ymax}}", DAMAGED)
        where = f"object[{i}]/bndbox"
        x1, y1, x2, y2 = (_number(box, field, file, where) for field in ("xmin", "ymin", "xmax", "ymax"))
        objects.append(VocObject(name, (node.findtext("difficult") or "0").strip() == "1", (x1, y1, x2, y2)))
    return width, height, objects


def car_boxes(width: int, height: int, objects: list[VocObject]) -> tuple[list[Box], list[tuple[str, VocObject]]]:
    """The cars to train on, as half-open boxes (x1, y1, x2, y2) counted from 0, clipped to the image.

    Returns:
        The boxes, each with a positive area; and the dropped objects with the reason: `difficult`, or `degenerate` if
        no area is left inside the image.
    """
    boxes: list[Box] = []
    dropped = []
    for item in objects:
        if item.name != "car":
            continue
        x1, y1, x2, y2 = item.box
        box = clip((x1 - 1, y1 - 1, x2, y2), width, height)
        if item.difficult:
            dropped.append(("difficult", item))
        elif box is None:
            dropped.append(("degenerate", item))
        else:
            boxes.append(box)
    return boxes, dropped


def list_images(folder: Path, split: str) -> list[str]:
    """The image names of a split. Checks that the folder has Sim10k's layout.

    Raises:
        DataError: a folder or the list is missing, or the list is empty.
    """
    for part in ("JPEGImages", "Annotations"):
        if not (folder / part).is_dir():
            raise DataError(folder / part, "the folder does not exist", DOWNLOAD.format(folder=folder))
    listing = folder / "ImageSets" / "Main" / f"{split}.txt"
    if not listing.is_file():
        raise DataError(listing, "the list of images does not exist", DOWNLOAD.format(folder=folder))
    names = read_text(listing).split()
    if not names:
        raise DataError(listing, "lists no images, expected one name on each line", DAMAGED)
    return names


def log_dropped(folder: Path, dropped: list[tuple[str, str]]) -> None:
    """Log the number of dropped objects for each reason, with some examples. `dropped`: (reason, example) pairs."""
    findings = Findings(folder)
    for rule, example in sorted(dropped, key=lambda pair: pair[0]):
        findings.add(Level.LEFT_OUT, f"{rule} boxes, left out", example, "Nothing to do")
    for problem in findings.problems():
        logger.warning("%s", problem)


def load_sim10k(folder: str | Path, split: str = "trainval10k", skips: bool = False) -> list[dict]:
    """Read the cars of Sim10k as Detectron2's data set dictionaries, one for each image.

    Args:
        folder: The `VOC2012` folder of the download.
        split: Name of a list in `ImageSets/Main`.
        skips: Whether missing images are skipped.

    Raises:
        DataError: a file or folder is missing or damaged, or no image has a car.
    """
    folder = Path(folder)
    names = list_images(folder, split)
    with os.scandir(folder / "JPEGImages") as entries:
        images = {entry.name for entry in entries}
    missing = [folder / "JPEGImages" / f"{name}.jpg" for name in names if f"{name}.jpg" not in images]
    if skips_missing(skips, missing, len(names), folder):
        names = [name for name in names if f"{name}.jpg" in images]
    elif missing:
        what = f"is listed in {split}.txt but does not exist; {len(missing)} of {len(names)} images are missing"
        raise DataError(missing[0], what, f"{DOWNLOAD.format(folder=folder)}. {SKIP}")
    records, dropped = [], []
    for image_id, name in enumerate(shown_if_slow(names, f"reading the boxes of {folder}"), start=1):
        file = folder / "Annotations" / f"{name}.xml"
        width, height, objects = parse_annotation(file)
        boxes, left_out = car_boxes(width, height, objects)
        dropped += [(rule, f"{file.name} {item.box}") for rule, item in left_out]
        records.append(
            {
                "file_name": str(folder / "JPEGImages" / f"{name}.jpg"),
                "image_id": image_id,
                "height": height,
                "width": width,
                "annotations": [{"bbox": box, "bbox_mode": BoxMode.XYXY_ABS, "category_id": 0} for box in boxes],
            }
        )
    log_dropped(folder / "Annotations", dropped)
    if not any(record["annotations"] for record in records):
        raise DataError(folder / "Annotations", f"none of {len(records)} images has a usable `car`", DAMAGED)
    return records
