"""Where the official downloads keep their files, and what their label values mean.

numpy only: the auditor reads folders on machines where no framework is installed.
"""

from __future__ import annotations

import glob
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from cityscapesscripts.helpers.labels import labels as cityscapes_labels
from cityscapesscripts.helpers.labels import name2label

from gcisg_core.problems import Problem

IGNORED = 255  # mmseg's ignore_index, Cityscapes' train ID of everything that is not evaluated
OUTSIDE = 254  # marks a label value that the table does not know


def _table(train_ids: Mapping[int, int]) -> np.ndarray:
    """A lookup of shape (256,), uint8: label value -> train ID 0-18, IGNORED or OUTSIDE."""
    table = np.full(256, OUTSIDE, np.uint8)
    for value, train_id in train_ids.items():
        table[value] = train_id
    return table


_CITYSCAPES = {label.id: label.trainId for label in cityscapes_labels if label.id >= 0}
# Mapillary Vistas 1.2: no official table exists; this is the assignment of RobustNet (Choi et al. 2021)
# (lane markings and manholes lie on the road, kerbs belong to the pavement, three kinds of riders).
_MAPILLARY = {
    "road": (13, 24, 41), "sidewalk": (2, 15), "building": (17,), "wall": (6,), "fence": (3,), "pole": (45, 47),
    "traffic light": (48,), "traffic sign": (50,), "vegetation": (30,), "terrain": (29,), "sky": (27,),
    "person": (19,), "rider": (20, 21, 22), "car": (55,), "truck": (61,), "bus": (54,), "train": (58,),
    "motorcycle": (57,), "bicycle": (52,),
}  # fmt: skip

LABEL_TABLES: dict[str, np.ndarray] = {
    "cityscapes_ids": _table(_CITYSCAPES),
    # GTAV stores the licence plate, Cityscapes' ID -1, as 34.
    "gtav_ids": _table({**_CITYSCAPES, 34: IGNORED}),
    "train_ids": _table({**{i: i for i in range(19)}, IGNORED: IGNORED}),
    "mapillary_ids": _table(
        {
            **dict.fromkeys(range(66), IGNORED),
            **{value: name2label[name].trainId for name, values in _MAPILLARY.items() for value in values},
        }
    ),
}


@dataclass(frozen=True)
class Layout:
    """The official folders of one data set, relative to its root.

    Attributes:
        image_dir: Folder of the images; may contain `{split}`.
        label_dir: Folder of the label images; may contain `{split}`.
        image_suffix: What follows the name that image and label share.
        label_suffixes: The same for labels, with the table of their values (a key of `LABEL_TABLES`, or "own").
            The first suffix that exists wins.
        splits: The splits that have labels.
    """

    image_dir: str
    label_dir: str
    image_suffix: str
    label_suffixes: dict[str, str]
    splits: tuple[str, ...]


LAYOUTS: dict[str, Layout] = {
    "gtav": Layout("images", "labels", ".png", {".png": "gtav_ids"}, ("all", "train", "val", "test")),
    "cityscapes": Layout(
        "leftImg8bit/{split}",
        "gtFine/{split}",
        "_leftImg8bit.png",
        {"_gtFine_labelTrainIds.png": "train_ids", "_gtFine_labelIds.png": "cityscapes_ids"},
        ("train", "val"),
    ),
    "bdd100k": Layout(
        "images/10k/{split}", "labels/sem_seg/masks/{split}", ".jpg", {".png": "train_ids"}, ("train", "val")
    ),
    "mapillary": Layout(
        "{split}/images", "{split}/v1.2/labels", ".jpg", {".png": "mapillary_ids"}, ("training", "validation")
    ),
}


def own_layout(image_suffix: str, label_suffix: str) -> Layout:
    """Folders of one's own, whose label values are the numbers of the classes."""
    return Layout("images", "labels", image_suffix, {label_suffix: "own"}, ())


@dataclass(frozen=True)
class Pair:
    """An image, its label and the table of the label's values (a key of `LABEL_TABLES`, or "own")."""

    image: str
    label: str
    table: str


def _files(folder: Path, suffix: str) -> dict[str, str]:
    # glob follows links to folders, Path.rglob does not; many keep their data behind links.
    found = glob.glob(f"**/*{suffix}", root_dir=folder, recursive=True)  # noqa: PTH207
    return {name[: -len(suffix)]: str(folder / name) for name in found}


def find_pairs(
    image_dir: Path, label_dir: Path, layout: Layout, only: set[str] | None = None
) -> tuple[list[Pair], list[Problem]]:
    """Match the images below one folder with the labels below another.

    Args:
        image_dir: Searched with all its subfolders.
        label_dir: The same.
        layout: Gives the suffixes.
        only: Names without suffix to restrict the search to; each must exist.

    Returns:
        The pairs in the order of their names, and what is wrong: an absent folder, no image, a missing partner.
    """
    images = _files(image_dir, layout.image_suffix)
    remedy = f"Point the data root at the folder that holds {layout.image_dir} and {layout.label_dir}"
    if not images:
        what = f"0 images: nothing here ends in {layout.image_suffix}" if image_dir.is_dir() else "no such folder"
        return [], [Problem(str(image_dir), what, remedy)]
    labels: dict[str, tuple[str, str]] = {}
    for suffix, table in layout.label_suffixes.items():
        for name, path in _files(label_dir, suffix).items():
            labels.setdefault(name, (path, table))
    wanted = " or ".join(f"*{suffix}" for suffix in layout.label_suffixes)
    if not labels:
        what = f"0 labels: nothing here is named {wanted}" if label_dir.is_dir() else "no such folder"
        return [], [Problem(str(label_dir), what, remedy)]

    pairs, problems = [], []
    for name in sorted(set(images) | set(labels) if only is None else only):
        if name not in images:
            missing = str(image_dir / f"{name}{layout.image_suffix}")
            problems.append(Problem(missing, "image missing", "Fetch it again, or remove its label"))
        elif name not in labels:
            what = f"no label for this image in {label_dir} ({wanted})"
            problems.append(Problem(images[name], what, "Fetch the label again, or remove the image"))
        else:
            pairs.append(Pair(images[name], *labels[name]))
    return pairs, problems
