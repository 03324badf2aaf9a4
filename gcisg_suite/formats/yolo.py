"""YOLO's text files: `images/.../a.jpg`, `labels/.../a.txt`, and `data.yaml` or `classes.txt`.

Images and labels may also be side by side. Each line of a label file is an object: its class number, then centre x,
centre y, width and height, or an outline of 3 or more points x, y. All coordinates are fractions of the image's size.
Source: the documentation of Ultralytics' data sets.
"""

from __future__ import annotations

import functools
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np
from PIL import Image, ImageDraw

from gcisg_core.files import exists
from gcisg_core.problems import DataError
from gcisg_suite.coco.values import number, shown
from gcisg_suite.formats.forms import (
    BACKGROUND,
    Box,
    BoxImage,
    Data,
    Labels,
    MaskImage,
    finite,
    image_files,
    outline_box,
    part_of,
)
from gcisg_suite.images import displayed_size
from gcisg_suite.progress import progress
from gcisg_suite.text import read_lines, read_yaml

YAMLS = ("data.yaml", "data.yml", "dataset.yaml", "dataset.yml")
NAMES = ("classes.txt", "obj.names", "labels/classes.txt", "_darknet.labels")
SLACK = 0.001  # rounding may move fractions this far below 0 or above 1
LISTS = {"train": "train.txt", "valid": "valid.txt", "val": "val.txt", "test": "test.txt"}  # of Darknet and CVAT
LINE = (
    "Expected: class, centre x, centre y, width, height; or class and an outline x y x y x y ...; fractions of 0 to 1"
)


def is_yolo(folder: Path) -> bool:
    """Whether there are text files in `labels` or beside images, and a file with the names of the classes."""
    if _yaml_of(folder) is None and _names_of(folder) is None:
        return False
    if any(path.name not in NAMES for path in folder.rglob("labels/**/*.txt")):
        return True
    return any(path.with_suffix(".txt").is_file() for path in image_files(folder))


def _names_of(folder: Path) -> Path | None:
    """The file that lists the classes, in the folder or in one of its parts."""
    patterns = [start + name for name in NAMES for start in ("", "*/", "labels/*/")]
    return next((path for pattern in patterns for path in sorted(folder.glob(pattern)) if path.is_file()), None)


def _yaml_of(folder: Path) -> Path | None:
    named = [folder / name for name in YAMLS if (folder / name).is_file()]
    others = [path for path in sorted(folder.glob("*.y*ml")) if "names" in _plain(path)]
    return next(iter(named + others), None)


def _plain(path: Path) -> dict[str, Any]:
    try:
        content = read_yaml(path)
    except DataError:
        return {}
    return content if isinstance(content, dict) else {}


def _classes(folder: Path, file: Path | None) -> list[str]:
    if file is None:
        listed = _names_of(folder) or folder / NAMES[0]
        return [line.strip() for line in read_lines(listed) if line.strip()]
    content = read_yaml(file)
    names = content.get("names") if isinstance(content, dict) else None
    if isinstance(names, dict) and sorted(map(str, names)) == sorted(map(str, range(len(names)))):
        names = [names[key] for key in sorted(names, key=int)]
    if not isinstance(names, list) or not names or len({*map(str, names)}) < len(names):
        expected = "expected a list of unique names, or a mapping `0: name`, `1: name`, ... without gaps"
        raise DataError(file, f"`names` is {shown(names)}, {expected}", "Write the classes in the order of the numbers")
    count = content.get("nc")
    if count is not None and count != len(names):
        raise DataError(file, f"`nc` is {shown(count)}, but `names` has {len(names)} entries", "Make them agree")
    return [str(name) for name in names]


def _folders(folder: Path, file: Path | None, role: str) -> list[Path]:
    """The role's part in the YAML file, as folders of images or files that list images; without it, `images/<part>`."""
    content = _plain(file) if file else {}
    part = part_of([key for key in content if content[key]], role)
    if part and file:
        base = folder / str(content.get("path") or "")
        named = content[part] if isinstance(content[part], list) else [content[part]]
        found = [_locate(str(name), base, file.parent) for name in named]
        if None in found:
            what = f"`{part}` is {named[found.index(None)]}, which does not exist below {base}"
            raise DataError(file, what, "Correct `path` or the part's folder")
        return [path for path in found if path]
    lists = {part: folder / name for part, name in LISTS.items() if (folder / name).is_file()}
    if not file and (part := part_of([*lists], role) or part_of([*lists], "all")):
        return [lists[part]]
    images = folder / "images" if (folder / "images").is_dir() else folder
    inner = part_of([path.name for path in images.iterdir() if path.is_dir()], role)
    return [images / inner] if inner else [images]


def _locate(name: str, *roots: Path) -> Path | None:
    """The path `name` in one of the folders, with leading parts of the name removed if necessary.

    Roboflow writes `../train/images` in a file beside `train`, Darknet writes `data/obj_train_data`, and absolute paths
    of another machine are common.
    """
    parts = PurePosixPath(name.replace("\\", "/")).parts
    tries = [root / name for root in roots]
    tries += [root.joinpath(*parts[cut:]) for cut in range(1, len(parts)) for root in roots]
    return next((path for path in tries if exists(path)), None)


def _label_of(image: Path) -> Path:
    """The label file: with `labels` in place of the last folder `images`, or in a folder `labels` beside the image, or
    beside the image."""
    parts = list(image.parent.parts)
    tries = [image.parent / "labels" / f"{image.stem}.txt", image.with_suffix(".txt")]
    if "images" in parts:
        last = len(parts) - 1 - parts[::-1].index("images")
        tries.insert(0, Path(*parts[:last], "labels", *parts[last + 1 :], f"{image.stem}.txt"))
    return next((path for path in tries if path.is_file()), tries[0])


def _images(folder: Path, role: str) -> tuple[list[str], list[Path]]:
    file = _yaml_of(folder)
    if file and "kpt_shape" in _plain(file):
        raise DataError(file, "says that the labels hold keypoints (`kpt_shape`)", "Export boxes or outlines")
    classes, found = _classes(folder, file), []
    for place in _folders(folder, file, role):
        if place.is_file():  # a list of images
            lines = [line.strip() for line in read_lines(place) if line.strip()]
            found += [_locate(line, place.parent, folder) or folder / line for line in lines]
        else:
            found += image_files(place)
    if not found:
        raise DataError(folder, "holds no image where its YOLO files say", "Correct `train` and `val` in data.yaml")
    return classes, found


def _objects(file: Path, count: int) -> list[tuple[int, list[float]]]:
    """Class and coordinates (fractions) of each line; an image without a label file has no objects."""
    found = []
    for index, line in enumerate(read_lines(file) if file.is_file() else (), start=1):
        words = line.split()
        if not words:
            continue
        where = f"{file} line {index}"
        label, values = number(words[0]), [finite(word, where, "a value", LINE) for word in words[1:]]
        if label is None or not label.is_integer() or not 0 <= label < count:
            what = f"class is {words[0]!r}, expected a whole number from 0 to {count - 1}"
            raise DataError(where, what, "Correct it, or the list of the classes")
        if len(values) != 4 and (len(values) < 6 or len(values) % 2):
            raise DataError(where, f"has {len(words)} values, expected 5, or an odd number from 7 on", LINE)
        if outside := [value for value in values if not -SLACK <= value <= 1 + SLACK]:
            raise DataError(where, f"{outside[0]} is not a fraction of the image's size, expected 0 to 1", LINE)
        found.append((int(label), values))
    return found


def _pixels(values: list[float], size: tuple[int, int]) -> list[float]:
    return [value * size[index % 2] for index, value in enumerate(values)]


def read_boxes(folder: Path, role: str) -> Data:
    """Boxes; outlines become the boxes around them."""
    classes, paths = _images(folder, role)
    images = []
    for path in progress(paths, "reading"):
        size, boxes = displayed_size(path), []
        for label, values in _objects(_label_of(path), len(classes)):
            if len(values) == 4:
                x, y, width, height = _pixels(values, size)
                corners = (x - width / 2, y - height / 2, x + width / 2, y + height / 2)
            else:
                corners = outline_box(_pixels(values, size))
            boxes.append(Box(classes[label], corners))
        images.append(BoxImage(path, size, boxes))
    return Data(folder, images, classes)


def read_masks(folder: Path, role: str) -> Data:
    """Labels made from the outlines; pixels outside all objects are background."""
    classes, paths = _images(folder, role)
    images = [MaskImage(path, functools.partial(_paint, path, _label_of(path), classes)) for path in paths]
    used = {label for path in progress(paths, "reading") for label, _ in _objects(_label_of(path), len(classes))}
    return Data(folder, images, [BACKGROUND, *(classes[label] for label in sorted(used))])


def _paint(path: Path, file: Path, classes: list[str]) -> Labels:
    size = displayed_size(path)
    canvas = Image.new("L", size)
    for label, values in _objects(file, len(classes)):
        if len(values) == 4:
            raise DataError(file, "has boxes, expected outlines for segmentation", "Use --task detection")
        points = _pixels(values, size)
        ImageDraw.Draw(canvas).polygon([*zip(points[::2], points[1::2], strict=True)], fill=label + 1)
    return Labels(np.asarray(canvas), dict(enumerate((BACKGROUND, *classes))))
