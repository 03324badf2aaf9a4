"""YOLO's text files: `images/.../a.jpg`, `labels/.../a.txt`, and `data.yaml` or `classes.txt`; or both side by side.

A line of a label is an object: the number of its class, then centre x, centre y, width and height, or an outline of 3
or more points x, y; all as shares of the image's size. Source: the documentation of Ultralytics' data sets.
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
from gcisg_suite.text import read_lines, read_yaml

YAMLS = ("data.yaml", "data.yml", "dataset.yaml", "dataset.yml")
NAMES = ("classes.txt", "obj.names", "labels/classes.txt", "_darknet.labels")
SLACK = 0.001  # by which rounding lets shares pass 0 and 1
LISTS = {"train": "train.txt", "valid": "valid.txt", "val": "val.txt", "test": "test.txt"}  # of Darknet, CVAT
LINE = "Expected: class, centre x, centre y, width, height; or class and an outline x y x y x y ...; shares of 0 to 1"


def is_yolo(folder: Path) -> bool:
    """Whether there are text files in `labels` or beside images, and the names of the classes."""
    if _yaml_of(folder) is None and _names_of(folder) is None:
        return False
    if any(path.name not in NAMES for path in folder.rglob("labels/**/*.txt")):
        return True
    return any(path.with_suffix(".txt").is_file() for path in image_files(folder))


def _names_of(folder: Path) -> Path | None:
    """The list of the classes, in the folder or in one of its parts."""
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
        expected = "expected a list of different names, or `0: name` and so on without a gap"
        raise DataError(file, f"`names` is {shown(names)}, {expected}", "Write the classes in the order of the numbers")
    count = content.get("nc")
    if count is not None and count != len(names):
        raise DataError(file, f"`nc` is {shown(count)}, but `names` has {len(names)}", "Make both agree")
    return [str(name) for name in names]


def _folders(folder: Path, file: Path | None, role: str) -> list[Path]:
    """What the YAML file names for the role's part: folders of images or lists of them; else `images/<part>`."""
    content = _plain(file) if file else {}
    part = part_of([key for key in content if content[key]], role)
    if part and file:
        base = folder / str(content.get("path") or "")
        named = content[part] if isinstance(content[part], list) else [content[part]]
        found = [_locate(str(name), base, file.parent) for name in named]
        if None in found:
            what = f"`{part}` names {named[found.index(None)]}, which does not exist below {base}"
            raise DataError(file, what, "Correct `path` or the part's folder")
        return [path for path in found if path]
    lists = {part: folder / name for part, name in LISTS.items() if (folder / name).is_file()}
    if not file and (part := part_of([*lists], role) or part_of([*lists], "all")):
        return [lists[part]]
    images = folder / "images" if (folder / "images").is_dir() else folder
    inner = part_of([path.name for path in images.iterdir() if path.is_dir()], role)
    return [images / inner] if inner else [images]


def _locate(name: str, *roots: Path) -> Path | None:
    """What a file names, from one of the folders; or with the first parts of the name cut off: Roboflow names
    `../train/images` beside `train`, Darknet `data/obj_train_data`, and paths of another machine are common."""
    parts = PurePosixPath(name.replace("\\", "/")).parts
    tries = [root / name for root in roots]
    tries += [root.joinpath(*parts[cut:]) for cut in range(1, len(parts)) for root in roots]
    return next((path for path in tries if exists(path)), None)


def _label_of(image: Path) -> Path:
    """`labels` in place of the last folder `images`; else beside the image, in a folder `labels` or in the same."""
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
    """Class and shares of each line; an image without a file has no object."""
    found = []
    for index, line in enumerate(read_lines(file) if file.is_file() else (), start=1):
        words = line.split()
        if not words:
            continue
        where = f"{file} line {index}"
        label, values = number(words[0]), [finite(word, where, "a value", LINE) for word in words[1:]]
        if label is None or not label.is_integer() or not 0 <= label < count:
            what = f"class {words[0]!r}, expected a whole number of 0 to {count - 1}"
            raise DataError(where, what, "Correct it, or the classes")
        if len(values) != 4 and (len(values) < 6 or len(values) % 2):
            raise DataError(where, f"{len(words)} values, expected 5, or 7 and more in pairs", LINE)
        if outside := [value for value in values if not -SLACK <= value <= 1 + SLACK]:
            raise DataError(where, f"{outside[0]} is not a share of the image, expected 0 to 1", LINE)
        found.append((int(label), values))
    return found


def _pixels(values: list[float], size: tuple[int, int]) -> list[float]:
    return [value * size[index % 2] for index, value in enumerate(values)]


def read_boxes(folder: Path, role: str) -> Data:
    """Boxes, also around outlines."""
    classes, paths = _images(folder, role)
    images = []
    for path in paths:
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
    """Pixels within outlines; those of no object are the background."""
    classes, paths = _images(folder, role)
    images = [MaskImage(path, functools.partial(_paint, path, _label_of(path), classes)) for path in paths]
    used = {label for path in paths for label, _ in _objects(_label_of(path), len(classes))}
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
