"""From the folders that `gcisg new-project` is given to what training reads: a COCO file, or a folder of label PNGs.

What a task reads anyway stays in place. Everything else is converted once into `<output>/data`; nothing is written into
the user's folders.
"""

from __future__ import annotations

import functools
import os
import shutil
from collections import Counter
from collections.abc import Callable, Mapping
from pathlib import Path, PurePath
from typing import Any, NamedTuple, cast

import numpy as np
from PIL import Image

from gcisg_core.files import named_errors, replacing, write_json, write_text
from gcisg_core.problems import DataError
from gcisg_suite.audit.parallel import check_all
from gcisg_suite.coco.load import normalise
from gcisg_suite.folders import list_files
from gcisg_suite.formats import coco
from gcisg_suite.formats.forms import BoxImage, Data, MaskImage, image_files
from gcisg_suite.formats.table import FORMATS, NATIVE, UNLABELLED, Format, Reader, find_format
from gcisg_suite.images import SUFFIXES, displayed_size
from gcisg_suite.new_project import MINE, Answers

NONE = 255  # the value of pixels without a class in a label PNG
NO_LABELS = "has no labels: there is no score on it; prediction, match rate, CKA, energy and `gcisg select` need none"
SHOWN = 5  # names in a line


class Place(NamedTuple):
    """Where the data of a folder are.

    Attributes:
        images: Their folder.
        labels: The COCO file, or the folder of the label PNGs.
        classes: The names in the order of the labels; empty where the labels do not say.
        listed: A list of the images' names without suffix, where only these count.
        suffixes: How the images end, where `listed` is given.
        labelled: Whether there are labels.
        fixed: The classes are those of the format, whether they occur or not.
    """

    images: Path
    labels: Path
    classes: list[str]
    listed: Path | None = None
    suffixes: tuple[str, ...] = ()
    labelled: bool = True
    fixed: bool = False


def _unlabelled(name: str, folder: Path) -> Data:
    if name == MINE:
        raise DataError(folder, "has no labels", "The synthetic images need labels: training learns from them")
    inner = folder / "images"
    data = Data(inner if inner.is_dir() else folder, [], [])
    data.images = [BoxImage(path, None, []) for path in image_files(data.root)]
    if not data.images:
        raise DataError(folder, "holds no image", "Name a folder of images")
    print(f"{name}: {folder} {NO_LABELS}")
    return data


def take_boxes(answers: Answers, asked: list[str] | None) -> dict[str, Place]:
    """The places of both folders for detection.

    Args:
        answers: Of the command line.
        asked: The classes that are wanted; by default those of the synthetic boxes.

    Raises:
        DataError, ValueError: a folder is in no known format, or a file in it is not as expected.
    """
    table = {name: row for name, row in FORMATS.items() if row.boxes}
    places: dict[str, Place] = {}
    classes = asked
    for name, folder in answers.folders.items():
        file = folder / (answers.labels or "annotations.json")
        kind = find_format(folder, table, file.is_file() or answers.labels is not None, answers.formats.get(name))
        data = None
        if kind in (NATIVE, "coco"):
            images = folder / answers.images
            if kind != NATIVE:
                file, images = coco.find_coco(folder, name)
            elif not images.is_dir() and file.is_file():
                images = coco.image_root(folder, file)
            if (kind == NATIVE and asked is None) or _fits(file, images, classes):
                places[name] = Place(images, file, classes or [])
                if kind != NATIVE:
                    print(f"{name}: {folder} read as {kind}: {file}, images in {images}")
                classes = classes or _names(file, images)
                continue
            data = coco.boxes_of(file, images)
        elif kind != UNLABELLED:
            data = cast("Reader", table[kind].boxes)(folder, name)
        data = data or _unlabelled(name, folder)
        if not classes:
            occurring = {box.name for image in data.images for box in image.boxes if not box.crowd}
            classes = [item for item in data.classes if item in occurring]
            data.leave("classes without a box", "", len(data.classes) - len(classes))
        goal = answers.output / "data" / f"{name}.json"
        places[name] = _write_coco(data, classes, goal, f"{name}: {folder} read as {kind}", kind != UNLABELLED)
    return places


def _names(file: Path, root: Path) -> list[str] | None:
    try:
        return normalise(file, root).classes
    except DataError:
        return None  # the audit says why


def _fits(file: Path, root: Path, classes: list[str] | None) -> bool:
    """Whether a COCO file can stay as it is: each category is wanted and has a box."""
    data = normalise(file, root)
    ids = {item["category_id"] for item in data.annotations}
    used = {item["name"] for item in data.categories if item["id"] in ids}
    return used == {*data.classes} == {*(classes or data.classes)}


def _write_coco(data: Data, classes: list[str], goal: Path, what: str, labelled: bool) -> Place:
    """Write boxes as a COCO file and say so."""
    numbers = {name: number for number, name in enumerate(classes, start=1)}
    images: list[dict[str, Any]] = []
    annotations: list[dict[str, Any]] = []
    counts, others = Counter[str](), Counter[str]()
    root = data.root
    if any(image.pixels for image in data.images):
        root = _write_pixels(data.images, goal.with_suffix("") / "images")
    for key, image in enumerate(data.images, start=1):
        width, height = image.size or displayed_size(image.path)
        name = image.path if image.pixels else Path(os.path.relpath(image.path, root))
        images.append({"id": key, "file_name": name.as_posix(), "width": width, "height": height})
        for box in image.boxes:
            x1, y1, x2, y2 = box.corners
            if box.name not in numbers:
                others[box.name] += 1
            elif x2 <= x1 or y2 <= y1:
                data.leave("boxes without area", f"{box.name} {[*box.corners]} of {image.path}")
            else:
                counts[box.name] += 1
                entry: dict[str, Any] = {"id": len(annotations) + 1, "image_id": key, "category_id": numbers[box.name]}
                entry |= {"bbox": [x1, y1, x2 - x1, y2 - y1], "area": (x2 - x1) * (y2 - y1), "iscrowd": int(box.crowd)}
                annotations.append(entry)
    if others:
        data.leave(f"boxes of {_some([*others])}, which are none of the classes", "", others.total())
    categories = [{"id": number, "name": name} for name, number in numbers.items()]
    write_json(goal, {"images": images, "annotations": annotations, "categories": categories})
    print(f"{what}: {len(images)} images, {len(annotations)} boxes of {_some(classes)} -> {goal}{data.described()}")
    return Place(root, goal, classes, labelled=labelled)


def _some(names: list[str]) -> str:
    return ", ".join(names[:SHOWN]) + (f" and {len(names) - SHOWN} more" if len(names) > SHOWN else "")


def _write_pixels(images: list[Any], folder: Path) -> Path:
    for image in images:
        with replacing(folder / image.path) as partial:
            Image.fromarray(image.pixels()).save(partial)
    return folder


def take_masks(
    answers: Answers,
    classes: list[str] | None,
    need: Callable[[], list[str]],
    table: Mapping[str, Format],
    special: Mapping[str, Format],
) -> dict[str, Place]:
    """The places of both folders for segmentation.

    Args:
        answers: Of the command line.
        classes: The names that are wanted; by default those of the synthetic labels.
        need: Asks for the names where they are not given and a folder has label images alone.
        table: The formats.
        special: Those of them that folders named `images` and `labels` may have.

    Raises:
        DataError, ValueError: as in :func:`take_boxes`.
    """
    kinds = {}
    for name, folder in answers.folders.items():
        given = answers.formats.get(name)
        native = answers.labels is not None or (not given and _is_native(folder, folder / answers.images, special))
        kinds[name] = find_format(folder, table, native, given)
    if classes is None and NATIVE in kinds.values():
        classes = need()
    places: dict[str, Place] = {}
    for name, folder in answers.folders.items():
        kind = kinds[name]
        if kind == NATIVE:
            places[name] = Place(folder / answers.images, folder / (answers.labels or "labels"), classes or [])
            continue
        data = _unlabelled(name, folder) if kind == UNLABELLED else cast("Reader", table[kind].masks)(folder, name)
        classes = classes or data.classes
        what, goal = f"{name}: {folder} read as {kind}", answers.output / "data" / name
        places[name] = _write_labels(data, classes, goal, what, kind != UNLABELLED, answers.workers)
    return places


def _is_native(folder: Path, images: Path, special: Mapping[str, Format]) -> bool:
    """Whether there are images and label images that training reads as they are."""
    labels = folder / "labels"
    if not (images.is_dir() and labels.is_dir()):
        return False
    if any(row.recognises(folder) for row in special.values()):
        return False
    return any(PurePath(name).suffix.lower() in SUFFIXES for name in list_files(labels).files)


def _write_labels(data: Data, classes: list[str], goal: Path, what: str, labelled: bool, workers: int) -> Place:
    """Write a label PNG for each image, and the list of the images; replaces what was written before."""
    goal.parent.mkdir(parents=True, exist_ok=True)
    partial = goal.with_name(f".{goal.name}.partial")
    shutil.rmtree(partial, ignore_errors=True)
    extracted = any(image.pixels for image in data.images)
    home = Path() if extracted else data.root
    names = [PurePath(os.path.relpath(image.path, home)) for image in data.images]
    # The first of each name counts.
    used = {name.with_suffix("").as_posix(): image for name, image in zip(names[::-1], data.images[::-1], strict=True)}
    data.leave("images that differ from another by the suffix alone", "", len(names) - len(used))
    partial.mkdir()
    try:
        if extracted:
            _write_pixels([*used.values()], partial / "images")
        if labelled:
            tasks = [(image, partial / "labels" / f"{stem}.png") for stem, image in used.items()]
            for unknown in check_all(functools.partial(_write_label, classes), tasks, workers, unit="label"):
                for other, pixels in unknown.items():
                    data.leave(f"pixels of {other}", "", pixels)
        write_text(partial / "images.txt", "".join(f"{stem}\n" for stem in sorted(used)))
        shutil.rmtree(goal, ignore_errors=True)
        partial.replace(goal)
    finally:
        shutil.rmtree(partial, ignore_errors=True)
    print(f"{what}: {len(used)} images, classes {_some(classes)} -> {goal}{data.described()}")
    root = goal / "images" if extracted else data.root
    suffixes = tuple(sorted({image.path.suffix for image in used.values()}))
    return Place(root, goal / "labels", classes, goal / "images.txt", suffixes, labelled, data.fixed)


def _write_label(classes: list[str], task: tuple[MaskImage, Path]) -> Counter[str]:
    """Write one; returns the pixels of classes that are not wanted."""
    image, path = task
    values, names = image.labels()
    numbers, inverse, counts = np.unique(values, return_inverse=True, return_counts=True)
    wanted = [classes.index(name) if (name := names.get(number)) in classes else NONE for number in numbers.tolist()]
    path.parent.mkdir(parents=True, exist_ok=True)
    with named_errors(path):
        Image.fromarray(np.array(wanted, np.uint8)[inverse.reshape(values.shape)]).save(path)
    pairs = zip(numbers.tolist(), counts.tolist(), wanted, strict=True)
    return Counter({names[number]: count for number, count, found in pairs if found == NONE and number in names})
