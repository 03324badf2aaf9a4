"""One mask image for each object: pixels other than 0 belong to it.

Layouts: `masks/<image>/*.png`, `masks/<image>_*.png`, `masks/<class>/<image>*.png`, or `<id>/{images,masks}/*.png`.
The class is what remains of the mask's name without the image's name and numbers; or else the name of the folder; or
else `object`.
"""

from __future__ import annotations

import functools
import re
from pathlib import Path

import numpy as np
from PIL import Image

from gcisg_core.problems import DataError, reading
from gcisg_suite.formats.forms import BACKGROUND, Box, BoxImage, Data, Labels, MaskImage, around, image_files, names_of
from gcisg_suite.progress import progress, shown_if_slow

FOLDERS = ("masks", "mask", "objects", "instances")
OBJECT = "object"
FEWEST_GREYS = 64  # a largest value below this is a class number, not white
WORDS = {"mask", "masks", "instance", "object", "obj", "id", "visib", "segmentation"}


def _masks(folder: Path) -> list[Path]:
    return [path for name in FOLDERS for home in folder.glob(f"**/{name}") for path in image_files(home)]


def is_objects(folder: Path) -> bool:
    """Whether there are masks of objects (label images, in contrast, have the names of the images)."""
    masks = _masks(folder)
    images = {path.stem for path in image_files(folder / "images")} if (folder / "images").is_dir() else set()
    return bool(masks) and not any(path.stem in images and path.parent.name in FOLDERS for path in masks)


def _grouped(folder: Path) -> tuple[list[Path], dict[Path, list[tuple[str, Path]]]]:
    """The images, and for each image its masks with their classes."""
    masks = _masks(folder)
    chosen = {*masks}
    images = [path for path in image_files(folder) if path not in chosen]
    by_stem = {path.stem: path for path in images}
    if len(by_stem) < len(images):
        by_stem = {}
    found: dict[Path, list[tuple[str, Path]]] = {path: [] for path in images}
    in_folder: dict[Path, list[Path]] = {}
    for path in images:
        in_folder.setdefault(path.parent, []).append(path)
    for mask in shown_if_slow(masks, "matching masks with images", "mask"):
        home = next(parent for parent in mask.parents if parent.name in FOLDERS)
        alone = in_folder.get(home.parent, []) + in_folder.get(home.parent / "images", [])
        image = by_stem.get(mask.parent.name) or _longest(mask.stem, by_stem) or (alone[0] if len(alone) == 1 else None)
        if image is None:
            what = "matches no image: neither its folder nor the start of its name is the name of an image"
            raise DataError(mask, what, f"Name it {home.name}/<image>/<class>_<number>{mask.suffix}, or remove it")
        found[image].append((_class_of(mask, image, home), mask))
    return images, found


def _longest(name: str, images: dict[str, Path]) -> Path | None:
    ends = [len(name), *(found.start() for found in re.finditer(r"[_\-. ]", name))]
    return next((images[name[:end]] for end in sorted(ends, reverse=True) if name[:end] in images), None)


def _class_of(mask: Path, image: Path, home: Path) -> str:
    rest = mask.stem.removeprefix(image.stem)
    # A hash may also contain words of letters, but it is not a class.
    words = [word for word in re.split(r"[_\-. ]+", rest) if word.isalpha() and word.lower() not in WORDS]
    if words and not re.fullmatch(r"[0-9a-f]{16,}", mask.stem):
        return " ".join(words)
    folder = mask.parent.name
    return folder if mask.parent != home and folder != image.stem else OBJECT


def _mask(path: Path) -> np.ndarray:
    """The object's mask, shape (H, W), bool. Raises `DataError`, also for a label image with several classes."""
    with reading(path, "an image", "Export it again, or remove it"), Image.open(path) as image:
        pixels = np.asarray(image.convert("RGB") if image.mode in ("RGBA", "P") else image)
    values = pixels.max(axis=2) if pixels.ndim == 3 else pixels
    # Soft edges are greys up to white. Class numbers are small, and class colours are not grey.
    other = pixels.reshape(-1, *pixels.shape[2:])[values.ravel() > 0]
    is_grey = other.ndim == 1 or bool((other == other[:, :1]).all())
    if len(other) and (other != other[0]).any() and (not is_grey or other.max() < FEWEST_GREYS):
        what = (
            "has several values or colours besides 0, expected one. Is it a label image, with a value for each class?"
        )
        raise DataError(path, what, "If so, give --task segmentation with --labels, --label-suffix and --classes")
    shown: np.ndarray = values > 0
    return shown


def read_boxes(folder: Path, role: str) -> Data:
    """Boxes around the masks; empty masks are counted as left out."""
    images, found = _grouped(folder)
    data = Data(folder, [], [])
    for path in progress(images, "reading"):
        boxes = []
        for name, mask in found[path]:
            corners = around(_mask(mask))
            if corners is None:
                data.leave("empty masks", mask.name)
            else:
                boxes.append(Box(name, corners))
        data.images.append(BoxImage(path, None, boxes))
    data.classes = names_of(data.images)
    return data


def read_masks(folder: Path, role: str) -> Data:
    """One label image with all objects of an image, small ones over large ones; the rest is background."""
    images, found = _grouped(folder)
    names = [BACKGROUND, *sorted({name for masks in found.values() for name, _ in masks})]
    data = Data(
        folder,
        [MaskImage(path, functools.partial(_paint, found[path], names)) for path in images if found[path]],
        names,
    )
    data.leave("images without a mask", count=len(images) - len(data.images))
    return data


def _paint(masks: list[tuple[str, Path]], names: list[str]) -> Labels:
    drawn = sorted(((_mask(path), name, path) for name, path in masks), key=lambda item: -int(item[0].sum()))
    values = np.zeros(drawn[0][0].shape, np.uint8)
    for mask, name, path in drawn:
        if mask.shape != values.shape:
            sizes = [" x ".join(map(str, shape[::-1])) for shape in (mask.shape, values.shape)]
            what = f"is {sizes[0]} pixels, but {drawn[0][2].name} is {sizes[1]}"
            raise DataError(path, what, "Export all masks of an image at its size")
        values[mask] = names.index(name)
    return Labels(values, dict(enumerate(names)))
