"""What a reader of a format returns, images with boxes or with a class at each pixel; and what readers share."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path, PurePath
from typing import Any, NamedTuple

import numpy as np

from gcisg_core.problems import DataError, reading
from gcisg_suite.coco.values import number, shown
from gcisg_suite.folders import is_hidden, list_files
from gcisg_suite.images import SUFFIXES

BACKGROUND = "background"  # the class of pixels that belong to no labelled object
Corners = tuple[float, float, float, float]
Names = Mapping[int, str]  # value of a pixel -> class; other values have none
# Which of a data set's own parts is trained on, and which is evaluated on; the first that is there counts.
PARTS = {
    "synthetic": ("train", "training", "trainval"),
    "real": ("val", "valid", "validation", "test", "testing"),
}
PARTS["all"] = tuple(dict.fromkeys((*PARTS["synthetic"], *PARTS["real"])))


class Box(NamedTuple):
    """An object: its class, and half-open corners (x1, y1, x2, y2) in pixels, counted from 0.

    Groups of objects, and those that an evaluation does not count, are `crowd`.
    """

    name: str
    corners: Corners
    crowd: bool = False


class BoxImage(NamedTuple):
    """An image, its width and height (None: those of the file), and its boxes.

    An image inside another file is read by `pixels` and written as `path`, which is then relative.
    """

    path: Path
    size: tuple[int, int] | None
    boxes: list[Box]
    pixels: Callable[[], np.ndarray] | None = None


class Labels(NamedTuple):
    """Values of pixels, shape (H, W), whole numbers, and the classes that they stand for."""

    values: np.ndarray
    names: Names


class MaskImage(NamedTuple):
    """An image and the function that reads its labels; `pixels` as in :class:`BoxImage`. Processes can exchange it."""

    path: Path
    labels: Callable[[], Labels]
    pixels: Callable[[], np.ndarray] | None = None


@dataclass
class Data:
    """What a reader found.

    Attributes:
        root: The folder of the images.
        images: :class:`BoxImage` or :class:`MaskImage`.
        classes: The names in their order.
        left_out: What is not used -> how often, and the first of it.
        fixed: The classes are those of the format, whether they occur or not.
    """

    root: Path
    images: list[Any]
    classes: list[str]
    left_out: dict[str, tuple[int, str]] = field(default_factory=dict)
    fixed: bool = False

    def leave(self, kind: str, first: object = "", count: int = 1) -> None:
        """Count something that is not used."""
        before, example = self.left_out.get(kind, (0, str(first)))
        if count:
            self.left_out[kind] = (before + count, example)

    def described(self) -> str:
        """What is left out, for the end of a line; empty where nothing is."""
        kinds = [
            f"{count} {kind}" + (f" (such as {first})" if first else "")
            for kind, (count, first) in self.left_out.items()
        ]
        return f"; left out: {', '.join(kinds)}" if kinds else ""


def names_of(images: Sequence[BoxImage]) -> list[str]:
    """The classes of the boxes in the order of the alphabet."""
    return sorted({box.name for image in images for box in image.boxes})


def folders_below(folder: Path, depth: int) -> Iterator[Path]:
    """The folders below one, in the order of their names, as deep as that."""
    for path in (
        sorted(path for path in folder.iterdir() if path.is_dir() and not is_hidden(path.name)) if depth else ()
    ):
        yield path
        yield from folders_below(path, depth - 1)


def image_files(folder: Path, deep: bool = True) -> list[Path]:
    """All images in a folder, and with `deep` below it, in the order of their names."""
    names = list_files(folder).files if deep else sorted(path.name for path in folder.iterdir() if path.is_file())
    return [folder / name for name in names if PurePath(name).suffix.lower() in SUFFIXES and not is_hidden(name)]


def beside(stem: Path) -> Path | None:
    """The image of that name with any suffix of an image, in lower or upper case."""
    found = (stem.with_name(stem.name + suffix) for each in SUFFIXES for suffix in (each, each.upper()))
    return next((path for path in found if path.is_file()), None)


def required_image(stem: Path, listed: Path) -> Path:
    """As :func:`beside`. Raises `DataError` for one that `listed` names and that is not there."""
    path = beside(stem)
    if path is None:
        raise DataError(listed, f"belongs to the image {stem}.*, which does not exist", "Restore it, or remove both")
    return path


def part_of(available: Sequence[str], role: str) -> str | None:
    """The part that a role uses, of those that a folder has."""
    return next((part for part in PARTS[role] if part in available), None)


def finite(value: Any, file: object, where: str, remedy: str) -> float:
    """A number. Raises `DataError` with the field."""
    found = number(value)
    if found is None:
        raise DataError(file, f"{where} is {shown(value)}, expected a number", remedy)
    return found


def read_json(path: Path, remedy: str) -> Any:
    """The content of a JSON file. Raises `DataError`."""
    with reading(path, "JSON", remedy):
        return json.loads(path.read_bytes())


def entries(content: Any, key: str, file: object, where: str, remedy: str) -> Iterator[tuple[str, dict[str, Any]]]:
    """The objects of a list in an object, each with its place. Raises `DataError`."""
    items = content.get(key) if isinstance(content, dict) else None
    place = f"{where}.{key}" if where else key
    if not isinstance(items, list):
        raise DataError(file, f"{place} is {shown(items)}, expected a list", remedy)
    for index, item in enumerate(items):
        if not isinstance(item, dict):
            raise DataError(file, f"{place}[{index}] is {shown(item)}, expected an object", remedy)
        yield f"{place}[{index}]", item


def text_of(item: Mapping[str, Any], key: str, file: object, where: str, remedy: str) -> str:
    """A text that is not empty. Raises `DataError`."""
    value = item.get(key)
    if not isinstance(value, str) or not value.strip():
        raise DataError(file, f"{where}.{key} is {shown(value)}, expected a text", remedy)
    return value.strip()


def around(mask: np.ndarray) -> Corners | None:
    """The half-open box around the pixels (H, W) that are not 0; None where all are."""
    rows, columns = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
    if not len(rows):
        return None
    return float(columns[0]), float(rows[0]), float(columns[-1] + 1), float(rows[-1] + 1)


def outline_box(points: Sequence[float]) -> Corners:
    """The box around x1, y1, x2, y2, ..."""
    return min(points[::2]), min(points[1::2]), max(points[::2]), max(points[1::2])
