"""Writes the data of any format in the form that training reads: a COCO file, or a folder of label PNGs."""

from __future__ import annotations

import functools
import os
from collections import Counter
from pathlib import Path, PurePath
from typing import Any

import numpy as np
from PIL import Image

from gcisg_core.files import named_errors, replacing, write_json, write_text
from gcisg_core.problems import DataError
from gcisg_suite.audit.parallel import check_all
from gcisg_suite.formats.forms import Data, MaskImage
from gcisg_suite.images import displayed_size
from gcisg_suite.progress import progress

COCO, LIST = "annotations.json", "images.txt"
NONE = 255  # value of pixels without a class in a label PNG
SHOWN = 5  # most names in a message


def write_coco(data: Data, classes: list[str], partial: Path, goal: Path, what: str) -> Path:
    """Write boxes as a COCO file into `partial`, which becomes `goal`, and print a summary that begins with `what`.

    Returns:
        The folder of the images.

    Raises:
        DataError: there are boxes, but none is usable.
    """
    numbers = {name: number for number, name in enumerate(classes, start=1)}
    images: list[dict[str, Any]] = []
    annotations: list[dict[str, Any]] = []
    others = Counter[str]()
    extracted = any(image.pixels for image in data.images)
    if extracted:
        _write_pixels(data.images, partial / "images")
    for key, image in enumerate(progress(data.images, "writing boxes"), start=1):
        width, height = image.size or displayed_size(image.path)
        name = image.path if image.pixels else Path(os.path.relpath(image.path, data.root))
        images.append({"id": key, "file_name": name.as_posix(), "width": width, "height": height})
        for box in image.boxes:
            x1, y1, x2, y2 = box.corners
            if box.name not in numbers:
                others[box.name] += 1
            elif x2 <= x1 or y2 <= y1:
                data.leave("boxes without area", f"{box.name} {[*box.corners]} of {image.path}")
            else:
                entry: dict[str, Any] = {"id": len(annotations) + 1, "image_id": key, "category_id": numbers[box.name]}
                entry |= {"bbox": [x1, y1, x2 - x1, y2 - y1], "area": (x2 - x1) * (y2 - y1), "iscrowd": int(box.crowd)}
                annotations.append(entry)
    if others:
        data.leave(f"boxes of {some([*others])}, which are not among the classes", "", others.total())
    if not annotations and any(image.boxes for image in data.images):
        raise DataError(data.root, f"has no usable box{data.described()}", "Correct the boxes, or name other --classes")
    categories = [{"id": number, "name": name} for name, number in numbers.items()]
    write_json(partial / COCO, {"images": images, "annotations": annotations, "categories": categories})
    found = f"{len(images)} images, {len(annotations)} boxes of {some(classes)}"
    print(f"{what}: {found} -> {goal / COCO}{data.described()}")
    return goal / "images" if extracted else data.root


def some(names: list[str]) -> str:
    """The first names, and the number of further ones."""
    return ", ".join(names[:SHOWN]) + (f" and {len(names) - SHOWN} more" if len(names) > SHOWN else "")


def _write_pixels(images: list[Any], folder: Path) -> None:
    for image in progress(images, "extracting"):
        with replacing(folder / image.path) as partial:
            Image.fromarray(image.pixels()).save(partial)


def write_labels(data: Data, classes: list[str], folder: Path, labelled: bool, workers: int) -> list[Any]:
    """Write a label PNG for each image, and the list of the images; returns the images."""
    extracted = any(image.pixels for image in data.images)
    home = Path() if extracted else data.root
    names = [PurePath(os.path.relpath(image.path, home)) for image in data.images]
    # Of images with the same name, the first is used.
    used = {name.with_suffix("").as_posix(): image for name, image in zip(names[::-1], data.images[::-1], strict=True)}
    data.leave("images that differ from another only in the suffix", "", len(names) - len(used))
    if extracted:
        _write_pixels([*used.values()], folder / "images")
    if labelled:
        tasks = [(image, folder / "labels" / f"{stem}.png") for stem, image in used.items()]
        for unknown in check_all(functools.partial(_write_label, classes), tasks, workers, unit="label"):
            for other, pixels in unknown.items():
                data.leave(f"pixels of {other}", "", pixels)
    write_text(folder / LIST, "".join(f"{stem}\n" for stem in sorted(used)))
    return [*used.values()]


def _write_label(classes: list[str], task: tuple[MaskImage, Path]) -> Counter[str]:
    """Write one label PNG; returns the number of pixels of each class that was not requested."""
    image, path = task
    values, names = image.labels()
    numbers, inverse, counts = np.unique(values, return_inverse=True, return_counts=True)
    wanted = [classes.index(name) if (name := names.get(number)) in classes else NONE for number in numbers.tolist()]
    path.parent.mkdir(parents=True, exist_ok=True)
    with named_errors(path):
        Image.fromarray(np.array(wanted, np.uint8)[inverse.reshape(values.shape)]).save(path)
    pairs = zip(numbers.tolist(), counts.tolist(), wanted, strict=True)
    return Counter({names[number]: count for number, count, found in pairs if found == NONE and number in names})
