"""Reads the cars of Cityscapes as boxes, in the two conventions of the literature.

`coco`: a box around the visible pixels of each `car` polygon. Groups (`cargroup`) are `iscrowd`, so they count neither
as hits nor as misses. The rule is that of Detectron2's own reader: later polygons cover earlier ones, except for
`deleted` objects and licence plates. Polygons are drawn as by Cityscapes' own tools.

`da_faster`: the tight box of every car value in `instanceIds.png` (DA-Faster R-CNN, CVPR 2018, and the GCISG paper).
There is no minimum size, and all groups of an image, which share one value, count as one car.

Boxes are half-open (x1, y1, x2, y2), counted from 0: one pixel is 1 wide.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from detectron2.structures import BoxMode
from PIL import Image, ImageDraw

from gcisg_core.files import is_file
from gcisg_core.lookup import choose
from gcisg_core.problems import DataError, reading
from gcisg_suite.coco.values import shown
from gcisg_suite.images import most_pixels
from gcisg_suite.progress import shown_if_slow
from gcisg_suite.text import read_json

from .absent import SKIP, skips_missing

CONVENTIONS = {
    "coco": "a box per visible instance, groups are iscrowd",
    "da_faster": "a tight box per instanceIds value, no minimum size, groups count as one car",
}
CAR_ID = 26
CARS = ("car", "cargroup")
# All labels; `license plate` (id -1) is never drawn. Groups exist for the classes with instances and for poles.
WITH_INSTANCES = ("person", "rider", "car", "truck", "bus", "caravan", "trailer", "train", "motorcycle", "bicycle")
LABELS = {
    *WITH_INSTANCES, *(f"{name}group" for name in (*WITH_INSTANCES, "pole")), "unlabeled", "ego vehicle",
    "rectification border", "out of roi", "static", "dynamic", "ground", "road", "sidewalk", "parking", "rail track",
    "building", "wall", "fence", "guard rail", "bridge", "tunnel", "pole", "traffic light", "traffic sign",
    "vegetation", "terrain", "sky", "license plate",
}  # fmt: skip
DOWNLOAD = (
    "Download `leftImg8bit_trainvaltest.zip` and `gtFine_trainvaltest.zip` of Cityscapes and unpack both so that "
    "{folder} holds leftImg8bit/<split>/<city>/*.png and gtFine/<split>/<city>/*"
)
MISSING = "Download it again, or remove its label"
DAMAGED = "Unpack gtFine_trainvaltest.zip again"
# Far above the values of the official files. Without limits, drawing a damaged file could take hours.
MOST_OBJECTS, MOST_POINTS, FARTHEST = 2000, 50_000, 1e6
Box = tuple[float, float, float, float]


def _check_polygon(points: Any, file: Path, field: str) -> list[tuple[float, float]]:
    valid = isinstance(points, list) and len(points) >= 3
    for point in points if valid else ():
        valid = isinstance(point, list) and len(point) == 2
        valid = valid and all(type(value) in (int, float) and abs(value) <= FARTHEST for value in point)  # not NaN
        if not valid:
            break
    if not valid:
        expected = f"expected 3 or more points [x, y] of pixels up to {FARTHEST:,.0f}"
        raise DataError(file, f"{field} is {shown(points)}, {expected}", DAMAGED)
    return [(point[0], point[1]) for point in points]


def parse_polygons(file: Path) -> tuple[int, int, list[tuple[str, list[tuple[float, float]]]]]:
    """Read a `*_gtFine_polygons.json`.

    Returns:
        Height and width in pixels, and (label, polygon) of the objects that are not deleted, in drawing order.

    Raises:
        DataError: the file is missing or not valid JSON, or a field is missing or wrong.
    """
    content = read_json(file, DAMAGED)
    if not isinstance(content, dict):
        raise DataError(file, f"holds a {type(content).__name__}, expected an object", DAMAGED)
    for field in ("imgHeight", "imgWidth"):
        if type(content.get(field)) is not int or content[field] <= 0:
            raise DataError(file, f"{field} is {shown(content.get(field))}, expected a positive integer", DAMAGED)
    height, width = content["imgHeight"], content["imgWidth"]
    if height * width > most_pixels():
        raise DataError(file, f"imgWidth x imgHeight is {width} x {height}, above {most_pixels()} pixels", DAMAGED)
    objects = content.get("objects")
    if not isinstance(objects, list) or not all(isinstance(item, dict) for item in objects):
        raise DataError(file, "objects is missing or not a list of objects, expected {label, polygon} each", DAMAGED)
    if len(objects) > MOST_OBJECTS:
        raise DataError(file, f"objects has {len(objects)} entries, expected at most {MOST_OBJECTS}", DAMAGED)
    polygons = []
    for i, item in enumerate(objects):
        label = item.get("label")
        if not isinstance(label, str) or label not in LABELS:
            raise DataError(file, f"objects[{i}].label is {shown(label)}, expected a label of Cityscapes", DAMAGED)
        points = _check_polygon(item.get("polygon"), file, f"objects[{i}].polygon")
        if not item.get("deleted"):
            polygons.append((label, points))
    if (total := sum(len(polygon) for _, polygon in polygons)) > MOST_POINTS:
        raise DataError(file, f"its polygons have {total} points, expected at most {MOST_POINTS}", DAMAGED)
    return height, width, polygons


def _extent(points: Sequence[tuple[float, float]], height: int, width: int) -> tuple[int, int, int, int]:
    """The half-open box (x1, y1, x2, y2) of the pixels that a polygon may cover inside the image."""
    x, y = zip(*points, strict=True)
    x1, y1, x2, y2 = math.floor(min(x)), math.floor(min(y)), math.ceil(max(x)) + 1, math.ceil(max(y)) + 1
    return max(x1, 0), max(y1, 0), min(x2, width), min(y2, height)


def coco_boxes(file: Path) -> tuple[int, int, list[tuple[Box, int]]]:
    """Boxes of one image in the convention `coco`.

    Returns:
        Height and width in pixels, and (box, iscrowd) of each car or group with at least one visible pixel.
    """
    height, width, polygons = parse_polygons(file)
    polygons = [(label, points) for label, points in polygons if label != "license plate"]
    extents = [_extent(points, height, width) for label, points in polygons if label in CARS]
    extents = [(x1, y1, x2, y2) for x1, y1, x2, y2 in extents if x1 < x2 and y1 < y2]
    if not extents:
        return height, width, []
    # All polygons on one full-size canvas, as in Cityscapes' tools: the rounding of edges depends on the origin.
    canvas = Image.new("I", (width, height))
    draw = ImageDraw.Draw(canvas)
    for number, (label, points) in enumerate(polygons, start=1):
        draw.polygon(points, fill=number if label in CARS else 0)
    left, top, right, bottom = (edge(extent[i] for extent in extents) for i, edge in enumerate((min, min, max, max)))
    from scipy.ndimage import find_objects  # imported late: it takes half a second

    found = find_objects(np.asarray(canvas)[top:bottom, left:right], len(polygons))
    boxes: list[tuple[Box, int]] = []
    for (label, _), part in zip(polygons, found, strict=True):
        if part is not None:
            y, x = part
            box = (float(left + x.start), float(top + y.start), float(left + x.stop), float(top + y.stop))
            boxes.append((box, int(label == "cargroup")))
    return height, width, boxes


def da_faster_boxes(file: Path) -> tuple[int, int, list[tuple[Box, int]]]:
    """Boxes of one image in the convention `da_faster`, from `*_gtFine_instanceIds.png`.

    Returns:
        Height and width in pixels, and (box, 0) of each car.

    Raises:
        DataError: the file is missing, cannot be decoded, or is not one channel of integers of 16 bits or more.
    """
    with reading(file, "an image", DAMAGED), Image.open(file) as image:
        ids = np.asarray(image)
    if ids.ndim != 2 or ids.dtype.kind not in "iu" or ids.dtype.itemsize < 2:  # 26001 needs 16 bits
        what = f"has shape {ids.shape} of {ids.dtype}, expected one channel of 16-bit integers"
        raise DataError(file, what, DAMAGED)
    rows, columns = np.nonzero((ids == CAR_ID) | (ids // 1000 == CAR_ID))
    _, numbers = np.unique(ids[rows, columns], return_inverse=True)
    labels = np.zeros(ids.shape, np.int32)
    labels[rows, columns] = numbers + 1  # consecutive, so that find_objects is fast for any values
    from scipy.ndimage import find_objects

    found = ((float(x.start), float(y.start), float(x.stop), float(y.stop)) for y, x in find_objects(labels))
    return ids.shape[0], ids.shape[1], [(box, 0) for box in found]


READERS = {"coco": ("polygons.json", coco_boxes), "da_faster": ("instanceIds.png", da_faster_boxes)}


def list_images(folder: Path, split: str) -> list[Path]:
    """The images of a split, sorted by name.

    Raises:
        DataError: a folder is missing or contains no image.
    """
    images = folder / "leftImg8bit" / split
    for part in (images, folder / "gtFine" / split):
        if not part.is_dir():
            raise DataError(part, "the folder does not exist", DOWNLOAD.format(folder=folder))
    files = sorted(images.glob("*/*_leftImg8bit.png"))
    if not files:
        raise DataError(images, "holds no <city>/*_leftImg8bit.png", DOWNLOAD.format(folder=folder))
    return files


def without_image(folder: Path, split: str, suffixes: Iterable[str]) -> list[Path]:
    """The missing images that have annotations, sorted by name."""
    found = set()
    for suffix in suffixes:
        for file in (folder / "gtFine" / split).glob(f"*/*_gtFine_{suffix}"):
            name = file.name.removesuffix(f"gtFine_{suffix}") + "leftImg8bit.png"
            found.add(folder / "leftImg8bit" / split / file.parent.name / name)
    checked = shown_if_slow(found, f"checking the images of {folder}")
    return sorted(image for image in checked if not is_file(image))


def annotation_of(image: Path, suffix: str) -> Path:
    """The file of `gtFine` that belongs to an image of `leftImg8bit`."""
    city, split, folder = image.parent.name, image.parent.parent.name, image.parent.parent.parent.parent
    return folder / "gtFine" / split / city / image.name.replace("leftImg8bit.png", f"gtFine_{suffix}")


def load_cityscapes_cars(
    folder: str | Path, split: str = "val", convention: str = "coco", skips: bool = False
) -> list[dict]:
    """Read the cars of Cityscapes as Detectron2's data set dictionaries; images without cars are kept.

    Args:
        folder: Contains `leftImg8bit` and `gtFine`.
        split: Name of a folder in both.
        convention: A key of :data:`CONVENTIONS`.
        skips: Whether missing images are skipped.

    Raises:
        DataError: a file or folder is missing or damaged, or no image has a car.
    """
    folder, (suffix, read) = Path(folder), choose(READERS, convention, "box convention")
    images = list_images(folder, split)
    missing = without_image(folder, split, [suffix])
    if missing and not skips_missing(skips, missing, len(missing) + len(images), folder):
        what = f"image missing, one of {len(missing)} that have annotations"
        raise DataError(missing[0], what, f"{MISSING}. {SKIP}")
    records, cars = [], 0
    for image_id, image in enumerate(shown_if_slow(images, f"reading the boxes of {folder}"), start=1):
        height, width, boxes = read(annotation_of(image, suffix))
        cars += sum(not crowd for _, crowd in boxes)
        records.append(
            {
                "file_name": str(image),
                "image_id": image_id,
                "height": height,
                "width": width,
                "annotations": [
                    {"bbox": box, "bbox_mode": BoxMode.XYXY_ABS, "category_id": 0, "iscrowd": crowd}
                    for box, crowd in boxes
                ],
            }
        )
    if not cars:
        what = f"none of {len(records)} images has a car"
        raise DataError(folder / "gtFine" / split, what, "The test split has no labels: use train or val")
    return records
