"""The result of a format's reader, images with boxes or with a class for each pixel; and helpers for all readers."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path, PurePath
from typing import Any, NamedTuple

import numpy as np

from gcisg_core.problems import DataError
from gcisg_suite.coco.values import number, shown
from gcisg_suite.folders import is_hidden, list_files
from gcisg_suite.images import SUFFIXES

BACKGROUND = "background"  # the class of pixels outside labelled objects
Corners = tuple[float, float, float, float]
Names = Mapping[int, str]  # value of a pixel -> class; other values have no class
# Role -> the parts of a data set that it may use; the first existing part is used.
PARTS = {
    "synthetic": ("train", "training", "trainval"),
    "real": ("val", "valid", "validation", "test", "testing"),
}
PARTS["all"] = tuple(dict.fromkeys((*PARTS["synthetic"], *PARTS["real"])))


class Box(NamedTuple):
    """An object: its class, and half-open corners (x1, y1, x2, y2) in pixels, counted from 0.

    `crowd` marks groups of objects, and objects that an evaluation ignores.
    """

    name: str
    corners: Corners
    crowd: bool = False


class BoxImage(NamedTuple):
    """An image, its width and height (None: take them from the file), and its boxes.

    If the image is stored inside another file, `pixels` reads it, and `path` is the relative path to write it to.
    """

    path: Path
    size: tuple[int, int] | None
    boxes: list[Box]
    pixels: Callable[[], np.ndarray] | None = None


class Labels(NamedTuple):
    """Integer pixel values, shape (H, W), and the classes that they stand for."""

    values: np.ndarray
    names: Names


class MaskImage(NamedTuple):
    """An image and the function that reads its labels; `pixels` as in :class:`BoxImage`. Can be pickled."""

    path: Path
    labels: Callable[[], Labels]
    pixels: Callable[[], np.ndarray] | None = None


@dataclass
class Data:
    """The result of a reader.

    Attributes:
        root: The folder of the images.
        images: Items of type :class:`BoxImage` or :class:`MaskImage`.
        classes: The names of the classes, in order.
        left_out: Kind of what is not used -> its count and the first example.
        fixed: Whether the format defines the classes, so that they are kept even if they do not occur.
    """

    root: Path
    images: list[Any]
    classes: list[str]
    left_out: dict[str, tuple[int, str]] = field(default_factory=dict)
    fixed: bool = False

    def leave(self, kind: str, first: object = "", count: int = 1) -> None:
        """Count something that is left out."""
        before, example = self.left_out.get(kind, (0, str(first)))
        if count:
            self.left_out[kind] = (before + count, example)

    def described(self) -> str:
        """What was left out, for the end of a message; empty if nothing was."""
        kinds = [
            f"{count} {kind}" + (f" (such as {first})" if first else "")
            for kind, (count, first) in self.left_out.items()
        ]
        return f"; left out: {', '.join(kinds)}" if kinds else ""


def names_of(images: Sequence[BoxImage]) -> list[str]:
    """The classes of the boxes, in alphabetical order."""
    return sorted({box.name for image in images for box in image.boxes})


def folders_below(folder: Path, depth: int) -> Iterator[Path]:
    """The folders below a folder, sorted by name, down to `depth` levels."""
    for path in (
        sorted(path for path in folder.iterdir() if path.is_dir() and not is_hidden(path.name)) if depth else ()
    ):
        yield path
        yield from folders_below(path, depth - 1)


def image_files(folder: Path, deep: bool = True) -> list[Path]:
    """All images in a folder and, with `deep`, below it, sorted by name."""
    names = list_files(folder).files if deep else sorted(path.name for path in folder.iterdir() if path.is_file())
    return [folder / name for name in names if PurePath(name).suffix.lower() in SUFFIXES and not is_hidden(name)]


def beside(stem: Path) -> Path | None:
    """The image with this name and any image suffix, in lower or upper case; None if there is none."""
    found = (stem.with_name(stem.name + suffix) for each in SUFFIXES for suffix in (each, each.upper()))
    return next((path for path in found if path.is_file()), None)


def required_image(stem: Path, listed: Path) -> Path:
    """As :func:`beside`, but raises `DataError` if the image does not exist; `listed` is the file that refers to it."""
    path = beside(stem)
    if path is None:
        raise DataError(listed, f"belongs to the image {stem}.*, which does not exist", "Restore it, or remove both")
    return path


def part_of(available: Sequence[str], role: str) -> str | None:
    """The part that a role uses, among those that a folder has; None if there is none."""
    return next((part for part in PARTS[role] if part in available), None)


def finite(value: Any, file: object, where: str, remedy: str) -> float:
    """A finite number. Raises `DataError` with the field."""
    found = number(value)
    if found is None:
        raise DataError(file, f"{where} is {shown(value)}, expected a number", remedy)
    return found


def entries(content: Any, key: str, file: object, where: str, remedy: str) -> Iterator[tuple[str, dict[str, Any]]]:
    """The objects of the list `content[key]`, each with its place. Raises `DataError`."""
    items = content.get(key) if isinstance(content, dict) else None
    place = f"{where}.{key}" if where else key
    if not isinstance(items, list):
        raise DataError(file, f"{place} is {shown(items)}, expected a list", remedy)
    for index, item in enumerate(items):
        if not isinstance(item, dict):
            raise DataError(file, f"{place}[{index}] is {shown(item)}, expected an object", remedy)
        yield f"{place}[{index}]", item


def text_of(item: Mapping[str, Any], key: str, file: object, where: str, remedy: str) -> str:
    """A string that is not empty. Raises `DataError`."""
    value = item.get(key)
    if not isinstance(value, str) or not value.strip():
        raise DataError(file, f"{where}.{key} is {shown(value)}, expected a string", remedy)
    return value.strip()


def around(mask: np.ndarray) -> Corners | None:
    """The half-open box around the pixels (H, W) that are not 0; None if all are 0."""
    rows, columns = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
    if not len(rows):
        return None
    return float(columns[0]), float(rows[0]), float(columns[-1] + 1), float(rows[-1] + 1)


def outline_box(points: Sequence[float]) -> Corners:
    """The box around the points x1, y1, x2, y2, ..."""
    return min(points[::2]), min(points[1::2]), max(points[::2]), max(points[1::2])
