"""Formats of `gcisg new-project` with Cityscapes' classes: official segmentation data sets, and CARLA."""

from __future__ import annotations

import functools
import itertools
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

import numpy as np
from cityscapesscripts.helpers.labels import trainId2label
from PIL import Image

from gcisg_core.problems import DataError
from gcisg_seg.checks import read_label, read_own_label, to_train_ids
from gcisg_seg.layouts import IGNORED, LAYOUTS, Layout, Pair, find_pairs
from gcisg_seg.own_labels import LabelRule, class_numbers
from gcisg_suite.formats.forms import PARTS, Data, Labels, MaskImage, folders_below, image_files
from gcisg_suite.formats.table import FORMATS as GENERAL
from gcisg_suite.formats.table import Format
from gcisg_suite.progress import shown_if_slow

CLASSES = [trainId2label[number].name for number in range(19)]
NAMES = dict(enumerate(CLASSES))
HIGHEST_TAG, HIGHEST_OF_EARLIER = 28, 22  # highest tag of CARLA, and of CARLA up to 0.9.13
DEEPEST, SAMPLES = 3, 50  # levels of folders that are searched; most folders, and most labels in each, that are read
# The colours of all versions (LibCarla's `CityScapesPalette.h`), in this order: those without a counterpart in
# Cityscapes; road lines, which lie on the road; fences and terrain of 0.9.10 to 0.9.13; Cityscapes' own colours.
PALETTE = {
    **dict.fromkeys(
        ((0, 0, 0), (110, 190, 160), (170, 120, 50), (55, 90, 80), (45, 60, 150), (81, 0, 81), (150, 100, 100),
         (230, 150, 140), (180, 165, 180), (250, 170, 160)), IGNORED,
    ),
    (157, 234, 50): 0, (100, 40, 40): 4, (145, 170, 100): 9,
    **{trainId2label[number].color: number for number in range(19)},
}  # fmt: skip
WHICH = (
    "Say which: --format carla for CARLA 0.9.14 and later, --format carla-0.9.13 for earlier ones; for one folder, "
    "--format synthetic=carla"
)


def _folders(layout: Layout, folder: Path, split: str) -> tuple[Path, Path]:
    return folder / layout.image_dir.format(split=split), folder / layout.label_dir.format(split=split)


def _is_layout(layout: Layout, folder: Path) -> bool:
    return any(all(path.is_dir() for path in _folders(layout, folder, split)) for split in layout.splits)


def _read_layout(layout: Layout, folder: Path, role: str) -> Data:
    """The pairs of the existing splits that the role uses."""
    parts = layout.splits if "{split}" in layout.image_dir else layout.splits[:1]
    present = [split for split in parts if all(path.is_dir() for path in _folders(layout, folder, split))]
    chosen = [split for split in present if split.rpartition("/")[2] in PARTS[role]] or present or [*layout.splits[:1]]
    data = Data(folder, [], CLASSES, fixed=True)
    for split in chosen:
        found = find_pairs(*_folders(layout, folder, split), layout)
        for problem in found.problems:
            raise DataError(problem.file, problem.what, problem.remedy)
        data.images += [MaskImage(Path(pair.image), functools.partial(_official, pair)) for pair in found.pairs]
        for problem in found.unpaired:
            data.leave("images or labels without a counterpart", problem.file)
    return data


def _official(pair: Pair) -> Labels:
    return Labels(to_train_ids(pair.label, read_label(pair.label, pair.table), pair.table), NAMES)


class _Carla(NamedTuple):
    """The folders of images and of CARLA's label images, whether the labels are colours, and the highest tag found."""

    images: Path
    labels: Path
    coloured: bool
    highest: int


def _find_carla(folder: Path) -> _Carla | None:
    """Two folders with files of the same names, one with tags in the red channel or with colours of the palette."""
    found = (path for path in (folder, *folders_below(folder, DEEPEST)) if image_files(path, deep=False))
    folders = [*itertools.islice(found, SAMPLES)]
    for labels in shown_if_slow(folders, "looking for CARLA's labels", "folder"):
        files = [path for path in image_files(labels, deep=False) if path.suffix.lower() == ".png"]
        looks = [_look(path) for path in files[:1]]
        if not looks or looks[0] is None:
            continue
        looks += [_look(path) for path in files[1 :: max(1, len(files) // SAMPLES)]]
        stems = {path.stem for path in files}
        for images in folders:
            if images != labels and any(path.stem in stems for path in image_files(images, deep=False)):
                known = [look for look in looks if look is not None]
                return _Carla(images, labels, any(coloured for coloured, _ in known), max(tag for _, tag in known))
    return None


def _look(path: Path) -> tuple[bool, int] | None:
    """Whether a label uses colours of the palette, and its highest tag; None for any other image."""
    try:
        with Image.open(path) as image:
            pixels = np.asarray(image)
    except Exception:  # if it is a label, the reader reports it
        return None
    if pixels.ndim != 3 or pixels.dtype != np.uint8:
        return None
    colours = np.unique(pixels[..., :3].reshape(-1, 3), axis=0)
    if not colours[:, 1:].any() and colours.max() <= HIGHEST_TAG:
        return False, int(colours.max())
    return (True, 0) if {*map(tuple, colours.tolist())} <= PALETTE.keys() else None


def _is_carla(folder: Path) -> bool:
    """Whether the folder holds CARLA's labels. Raises `DataError` if their tags do not reveal CARLA's version."""
    found = _find_carla(folder)
    if found and not found.coloured and found.highest <= HIGHEST_OF_EARLIER:
        what = (
            f"holds CARLA's labels, but no tag is above {HIGHEST_OF_EARLIER}, and up to 0.9.13 tags had other meanings"
        )
        raise DataError(found.labels, what, WHICH)
    # Colour labels in a folder `labels` are read without conversion, by the colours in the file of the classes.
    return found is not None and not (found.coloured and found.labels.name == "labels")


def _read_carla(table: str, folder: Path, role: str) -> Data:
    """Cityscapes' classes by CARLA's tags or colours; all other tags have no class."""
    found = _find_carla(folder)
    if found is None:
        what = "holds no two folders with PNGs of the same names, one of them with CARLA's tags in the red channel"
        raise DataError(folder, what, "Save the semantic camera's images as they are (image.save_to_disk)")
    labels = {path.stem: path for path in image_files(found.labels, deep=False)}
    data = Data(found.images, [], CLASSES, fixed=True)
    for path in image_files(found.images, deep=False):
        label = labels.pop(path.stem, None)
        if label is None:
            data.leave("images without a label", path.name)
        elif found.coloured:
            data.images.append(MaskImage(path, functools.partial(_by_colour, label)))
        else:
            data.images.append(MaskImage(path, functools.partial(_official, Pair(str(path), str(label), table))))
    for label in labels.values():
        data.leave("labels without an image", label.name)
    return data


def _by_colour(path: Path) -> Labels:
    """Train IDs of a label in colours. Raises `DataError`."""
    label, rule = read_own_label(str(path)), LabelRule(len(PALETTE), tuple(PALETTE))
    if label.way(rule) == "value":
        raise DataError(path, "holds numbers, but other labels in its folder hold colours", "Save all in the same form")
    train_ids = np.full(256, IGNORED, np.uint8)
    train_ids[: len(PALETTE)] = [*PALETTE.values()]
    return Labels(train_ids[class_numbers(str(path), label, rule)], NAMES)


def _layout_row(name: str, layout: Layout, recognises: Callable[[Path], bool] | None = None) -> Format:
    where = f"{layout.image_dir}/*{layout.image_suffix}, {layout.label_dir}/*{' or '.join(layout.label_suffixes)}"
    return Format(
        where.replace("{split}", "<part>"),
        recognises or (functools.partial(_is_layout, layout) if name != "gtav" else _never),  # called as anyone's
        masks=functools.partial(_read_layout, layout),
    )


def _never(folder: Path) -> bool:
    return False


# Mapillary Vistas before 2.0; the download of 2.0 has the labels of 1.2 in a separate folder.
MAPILLARY_V1 = replace(LAYOUTS["mapillary"], label_dir="{split}/labels")


def _is_mapillary_v1(folder: Path) -> bool:
    return _is_layout(MAPILLARY_V1, folder) and any((folder / s / "instances").is_dir() for s in MAPILLARY_V1.splits)


# These are tried before a folder is taken as label images that can be read without conversion.
STREETS = {
    **{name.replace("_", "-"): _layout_row(name, layout) for name, layout in LAYOUTS.items()},
    "mapillary-v1": _layout_row("mapillary-v1", MAPILLARY_V1, _is_mapillary_v1),
    "carla": Format(
        "CARLA's semantic PNGs, tags in the red channel or colours, in a folder beside the images'",
        _is_carla,
        masks=functools.partial(_read_carla, "carla_ids"),
    ),
    "carla-0.9.13": Format(
        "the same of CARLA 0.9.13 and before", _never, masks=functools.partial(_read_carla, "carla_0_9_13_ids")
    ),
}
# CARLA's come last, as recognising them requires reading images.
FORMATS = {
    **{name: row for name, row in STREETS.items() if not name.startswith("carla")},
    **{name: row for name, row in GENERAL.items() if row.masks and name not in STREETS},
    **{name: row for name, row in STREETS.items() if name.startswith("carla")},
}
