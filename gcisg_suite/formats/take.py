"""From the folders that `gcisg new-project` is given to what training reads: a COCO file, or a folder of label PNGs.

What a task reads anyway stays in place. Everything else is converted once into `<output>/data`; nothing is written into
the user's folders.
"""

from __future__ import annotations

import functools
import os
from collections import Counter
from collections.abc import Callable, Mapping
from pathlib import Path, PurePath
from typing import Any, NamedTuple, cast

import numpy as np
from PIL import Image

from gcisg_core.files import replacing, write_json, write_text
from gcisg_core.problems import DataError
from gcisg_suite.audit.parallel import check_all
from gcisg_suite.coco.load import normalise
from gcisg_suite.folders import list_files
from gcisg_suite.formats import coco
from gcisg_suite.formats.forms import BACKGROUND, BoxImage, Data, MaskImage, image_files
from gcisg_suite.formats.output import converting
from gcisg_suite.formats.table import FORMATS, NATIVE, UNLABELLED, Format, Reader, find_format
from gcisg_suite.images import SUFFIXES, displayed_size
from gcisg_suite.new_project import MINE, Answers

COCO = "annotations.json"
NONE = 255  # the value of pixels without a class in a label PNG
NO_LABELS = "has no labels: there is no score on it; prediction, match rate, CKA, energy and `gcisg select` need none"
SHOWN = 5  # names in a line
NOTHING = "Name the folder that holds the labels, or its format where it is another one (--format FOLDER=NAME)"


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
        remedy = "Training learns from labels: name the folder that holds them, or its format (--format synthetic=NAME)"
        raise DataError(folder, "has images and no labels that are known here", remedy)
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
    files = {name: folder / (answers.labels or "annotations.json") for name, folder in answers.folders.items()}
    kinds = {
        name: find_format(folder, table, files[name].is_file() or bool(answers.labels), answers.formats.get(name))
        for name, folder in answers.folders.items()
    }
    _check_options(answers, kinds)
    places: dict[str, Place] = {}
    classes = asked
    for name, folder in answers.folders.items():
        kind, file, data = kinds[name], files[name], None
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
        _check_classes(data, classes)
        if not classes:
            occurring = {box.name for image in data.images for box in image.boxes if not box.crowd}
            classes = [item for item in data.classes if item in occurring]
            data.leave("classes without a box", "", len(data.classes) - len(classes))
        if not classes or not data.images:
            raise DataError(folder, f"read as {kind}: {len(data.images)} images without any box", NOTHING)
        what, goal = f"{name}: {folder} read as {kind}", answers.output / "data" / name
        with converting(goal, answers.force) as partial:
            root = _write_coco(data, classes, partial, goal, what)
        places[name] = Place(root, goal / COCO, classes, labelled=kind != UNLABELLED)
    return places


def _check_options(answers: Answers, kinds: Mapping[str, str]) -> None:
    """Refuse options that say how labels are read in place where a folder is converted, which would do nothing there.

    Raises:
        ValueError: with the option.
    """
    converted = {name: kind for name, kind in kinds.items() if kind not in (NATIVE, UNLABELLED)}
    for option in sorted(answers.options.keys() - {"classes"}):
        # The names of the classes must be known in both folders, all else in one.
        if converted and (option == "num_classes" or NATIVE not in kinds.values()):
            name, kind = next(iter(converted.items()))
            what = f"--{option.replace('_', '-')} is for labels that are read as they are"
            raise ValueError(
                f"{what}; {answers.folders[name]} is read as {kind}. Leave it out, or give another --format"
            )


def _check_classes(data: Data, asked: list[str] | None) -> None:
    """Raises `ValueError` where a folder has classes, and none of those that are wanted."""
    common = {*(asked or ())} & {*data.classes}
    if asked and data.classes and not common - {BACKGROUND}:
        what = f"the classes are {_some(asked)}, and {data.root} has none of them; it has {_some(data.classes)}"
        raise ValueError(f"{what}. Give names that both folders have (--classes A B ...), or rename those of one")


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


def _write_coco(data: Data, classes: list[str], partial: Path, goal: Path, what: str) -> Path:
    """Write boxes as a COCO file into a folder that becomes `goal`, and say so; returns the folder of the images."""
    numbers = {name: number for number, name in enumerate(classes, start=1)}
    images: list[dict[str, Any]] = []
    annotations: list[dict[str, Any]] = []
    counts, others = Counter[str](), Counter[str]()
    extracted = any(image.pixels for image in data.images)
    if extracted:
        _write_pixels(data.images, partial / "images")
    for key, image in enumerate(data.images, start=1):
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
                counts[box.name] += 1
                entry: dict[str, Any] = {"id": len(annotations) + 1, "image_id": key, "category_id": numbers[box.name]}
                entry |= {"bbox": [x1, y1, x2 - x1, y2 - y1], "area": (x2 - x1) * (y2 - y1), "iscrowd": int(box.crowd)}
                annotations.append(entry)
    if others:
        data.leave(f"boxes of {_some([*others])}, which are none of the classes", "", others.total())
    categories = [{"id": number, "name": name} for name, number in numbers.items()]
    write_json(partial / COCO, {"images": images, "annotations": annotations, "categories": categories})
    found = f"{len(images)} images, {len(annotations)} boxes of {_some(classes)}"
    print(f"{what}: {found} -> {goal / COCO}{data.described()}")
    return goal / "images" if extracted else data.root


def _some(names: list[str]) -> str:
    return ", ".join(names[:SHOWN]) + (f" and {len(names) - SHOWN} more" if len(names) > SHOWN else "")


def _write_pixels(images: list[Any], folder: Path) -> None:
    for image in images:
        with replacing(folder / image.path) as partial:
            Image.fromarray(image.pixels()).save(partial)


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
    _check_options(answers, kinds)
    if classes is None and NATIVE in kinds.values():
        classes = need()
    places: dict[str, Place] = {}
    for name, folder in answers.folders.items():
        kind = kinds[name]
        if kind == NATIVE:
            places[name] = Place(folder / answers.images, folder / (answers.labels or "labels"), classes or [])
            continue
        data = _unlabelled(name, folder) if kind == UNLABELLED else cast("Reader", table[kind].masks)(folder, name)
        _check_classes(data, classes)
        classes = classes or data.classes
        if classes == [BACKGROUND] or not data.images:
            raise DataError(folder, f"read as {kind}: {len(data.images)} images without any object", NOTHING)
        what, goal = f"{name}: {folder} read as {kind}", answers.output / "data" / name
        with converting(goal, answers.force) as partial:
            used = _write_labels(data, classes, partial, kind != UNLABELLED, answers.workers)
        print(f"{what}: {len(used)} images, classes {_some(classes)} -> {goal}{data.described()}")
        root = goal / "images" if any(image.pixels for image in used) else data.root
        suffixes = tuple(sorted({image.path.suffix for image in used}))
        listed = goal / "images.txt"
        places[name] = Place(root, goal / "labels", classes, listed, suffixes, kind != UNLABELLED, data.fixed)
    return places


def _is_native(folder: Path, images: Path, special: Mapping[str, Format]) -> bool:
    """Whether there are images and label images that training reads as they are."""
    labels = folder / "labels"
    if not (images.is_dir() and labels.is_dir()):
        return False
    if any(row.recognises(folder) for row in special.values()):
        return False
    return any(PurePath(name).suffix.lower() in SUFFIXES for name in list_files(labels).files)


def _write_labels(data: Data, classes: list[str], folder: Path, labelled: bool, workers: int) -> list[Any]:
    """Write a label PNG for each image, and the list of the images; returns the images."""
    extracted = any(image.pixels for image in data.images)
    home = Path() if extracted else data.root
    names = [PurePath(os.path.relpath(image.path, home)) for image in data.images]
    # The first of each name counts.
    used = {name.with_suffix("").as_posix(): image for name, image in zip(names[::-1], data.images[::-1], strict=True)}
    data.leave("images that differ from another by the suffix alone", "", len(names) - len(used))
    if extracted:
        _write_pixels([*used.values()], folder / "images")
    if labelled:
        tasks = [(image, folder / "labels" / f"{stem}.png") for stem, image in used.items()]
        for unknown in check_all(functools.partial(_write_label, classes), tasks, workers, unit="label"):
            for other, pixels in unknown.items():
                data.leave(f"pixels of {other}", "", pixels)
    write_text(folder / "images.txt", "".join(f"{stem}\n" for stem in sorted(used)))
    return [*used.values()]


def _write_label(classes: list[str], task: tuple[MaskImage, Path]) -> Counter[str]:
    """Write one; returns the pixels of classes that are not wanted."""
    image, path = task
    values, names = image.labels()
    numbers, inverse, counts = np.unique(values, return_inverse=True, return_counts=True)
    wanted = [classes.index(name) if (name := names.get(number)) in classes else NONE for number in numbers.tolist()]
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.array(wanted, np.uint8)[inverse.reshape(values.shape)]).save(path)
    pairs = zip(numbers.tolist(), counts.tolist(), wanted, strict=True)
    return Counter({names[number]: count for number, count, found in pairs if found == NONE and number in names})
