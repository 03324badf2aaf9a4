"""The folders of the official downloads, and the meaning of their label values.

Only needs numpy, so that the audit runs on machines without a framework.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np
from cityscapesscripts.helpers.labels import labels as cityscapes_labels
from cityscapesscripts.helpers.labels import name2label

from gcisg_core.problems import Problem
from gcisg_suite.folders import left_out, list_files
from gcisg_suite.images import SUFFIXES

DOUBLE = (
    "Remove or rename one of the two, or say which suffix to use (img_suffix or seg_map_suffix in a config, "
    "--image-suffix or --label-suffix)"
)
TELL_APART = (
    "Give both suffixes: img_suffix='.jpg', seg_map_suffix='_mask.png' in a config, --image-suffix and --label-suffix "
    "in a command"
)
IGNORED = 255  # mmseg's ignore_index, and Cityscapes' train ID for everything that is not evaluated
OUTSIDE = 254  # marks a label value that is not in the table


def _table(train_ids: Mapping[int, int]) -> np.ndarray:
    """A lookup table, shape (256,), uint8: label value -> train ID (0 to 18), IGNORED or OUTSIDE."""
    table = np.full(256, OUTSIDE, np.uint8)
    for value, train_id in train_ids.items():
        table[value] = train_id
    return table


_CITYSCAPES = {label.id: label.trainId for label in cityscapes_labels if label.id >= 0}
# Mapillary Vistas 1.2: there is no official table; this is the assignment of RobustNet (Choi et al. 2021): lane
# markings and manholes count as road, kerbs as sidewalk, and three kinds of riders as rider.
_MAPILLARY = {
    "road": (13, 24, 41), "sidewalk": (2, 15), "building": (17,), "wall": (6,), "fence": (3,), "pole": (45, 47),
    "traffic light": (48,), "traffic sign": (50,), "vegetation": (30,), "terrain": (29,), "sky": (27,),
    "person": (19,), "rider": (20, 21, 22), "car": (55,), "truck": (61,), "bus": (54,), "train": (58,),
    "motorcycle": (57,), "bicycle": (52,),
}  # fmt: skip

# CARLA's tags from 0.9.14 on (LibCarla's `CityObjectLabel`) begin with Cityscapes' 19 classes. Earlier tags have
# no rider and one tag for all vehicles; SHIFT uses them. Road lines count as road.
_CARLA = {**{tag: tag - 1 for tag in range(1, 20)}, **dict.fromkeys((0, *range(20, 29)), IGNORED), 24: 0}
_CARLA_0_9_13 = {
    **dict.fromkeys(range(23), IGNORED),
    1: 2, 2: 4, 4: 11, 5: 5, 6: 0, 7: 0, 8: 1, 9: 8, 10: 13, 11: 3, 12: 7, 13: 10, 18: 6, 22: 9,
}  # fmt: skip
# SYNTHIA-RAND-CITYSCAPES, by the names in its README; road works, parking slots and lane markings have no class here.
_SYNTHIA = {
    **dict.fromkeys(range(23), IGNORED),
    1: 10, 2: 2, 3: 0, 4: 1, 5: 4, 6: 8, 7: 5, 8: 13, 9: 7, 10: 11, 11: 18, 12: 17, 15: 6, 16: 9, 17: 12, 18: 14,
    19: 15, 20: 16, 21: 3,
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
    "carla_ids": _table(_CARLA),
    "carla_0_9_13_ids": _table(_CARLA_0_9_13),
    "synthia_ids": _table(_SYNTHIA),
}
IN_RED = ("carla_ids", "carla_0_9_13_ids", "synthia_ids")  # colour images whose red channel holds the label value


@dataclass(frozen=True)
class Layout:
    """The official folders of one data set, relative to its root.

    Attributes:
        image_dir: Folder of the images; may contain `{split}`.
        label_dir: Folder of the label images; may contain `{split}`.
        image_suffix: What follows the name that image and label share; several suffixes are possible for own data.
        label_suffixes: The same for labels -> the table of their values (a key of `LABEL_TABLES`, or "own"). The
            first suffix that exists is used.
        splits: The splits with labels.
    """

    image_dir: str
    label_dir: str
    image_suffix: str | tuple[str, ...]
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
    # The layout before 2020, which mirrors still distribute.
    "bdd100k_seg": Layout(
        "seg/images/{split}", "seg/labels/{split}", ".jpg", {"_train_id.png": "train_ids"}, ("train", "val")
    ),
    "mapillary": Layout(
        "{split}/images", "{split}/v1.2/labels", ".jpg", {".png": "mapillary_ids"}, ("training", "validation")
    ),
    "foggy_cityscapes": Layout(
        "leftImg8bit_foggy/{split}",
        "gtFine/{split}",
        "_leftImg8bit_foggy_beta_0.02.png",
        {"_gtFine_labelTrainIds.png": "train_ids", "_gtFine_labelIds.png": "cityscapes_ids"},
        ("train", "val"),
    ),
    "acdc": Layout(
        "rgb_anon/{split}",
        "gt/{split}",
        "_rgb_anon.png",
        {"_gt_labelTrainIds.png": "train_ids", "_gt_labelIds.png": "cityscapes_ids"},
        tuple(f"{condition}/{part}" for condition in ("fog", "night", "rain", "snow") for part in ("train", "val")),
    ),
    "shift": Layout(
        "discrete/images/{split}/front/img",
        "discrete/images/{split}/front/semseg",
        "_img_front.jpg",
        {"_semseg_front.png": "carla_0_9_13_ids"},
        ("train", "val"),
    ),
    "synthia": Layout("RGB", "GT/LABELS", ".png", {".png": "synthia_ids"}, ("all",)),
}


Suffix = str | Sequence[str] | None


def own_layout(image_suffix: Suffix = None, label_suffix: Suffix = None) -> Layout:
    """The layout of the user's own folders. Without a suffix, any image suffix counts."""
    return Layout("images", "labels", _several(image_suffix), dict.fromkeys(_several(label_suffix), "own"), ())


def _several(suffix: Suffix) -> tuple[str, ...]:
    return (suffix,) if isinstance(suffix, str) else tuple(suffix or SUFFIXES)


@dataclass(frozen=True)
class Pair:
    """An image, its label, and the table of the label's values (a key of `LABEL_TABLES`, or "own")."""

    image: str
    label: str
    table: str


class Found(NamedTuple):
    """The result of :func:`find_pairs`.

    Attributes:
        pairs: The pairs, sorted by name.
        problems: Missing folders, and folders without images or labels.
        unpaired: Images without a label, and labels without an image.
        notes: What was left out, one line for each folder.
    """

    pairs: list[Pair]
    problems: list[Problem]
    unpaired: list[Problem]
    notes: list[Problem]


class _Folder:
    """All files below a folder, by their name without the suffix.

    Args:
        root: The folder.
        suffixes: Suffix of the wanted files (upper or lower case) -> table; the first that exists is used.
    """

    def __init__(self, root: Path, suffixes: Mapping[str, str]) -> None:
        self.root = root
        self.wanted = "as an image" if (*suffixes,) == SUFFIXES else " or ".join(f"*{suffix}" for suffix in suffixes)
        names, hidden = list_files(root)
        self.left_out: dict[str, list[str]] = {"hidden by their name": hidden, "of another name": []}
        self.files: dict[str, tuple[str, str]] = {}
        self.doubles: list[Problem] = []
        unused = set(names)
        for suffix, table in suffixes.items():
            for name in (name for name in names if name.lower().endswith(suffix.lower())):
                unused.discard(name)
                stem = name[: len(name) - len(suffix)]
                first, its_table = self.files.setdefault(stem, (str(root / name), table))
                if first != str(root / name) and its_table == table:
                    what = f"has the name of {first}, except for the suffix or for upper and lower case"
                    self.doubles.append(Problem(str(root / name), what, DOUBLE, "has the name of another file"))
        self.left_out["of another name"] = sorted(unused)

    def absent(self, kind: str, remedy: str) -> list[Problem]:
        """A problem if no file was found."""
        if self.files:
            return []
        what = f"0 {kind}: nothing here is named {self.wanted}" if self.root.is_dir() else "no such folder"
        return [Problem(str(self.root), what, remedy)]

    def without_converted(self, images: Collection[str]) -> dict[str, tuple[str, str]]:
        """The labels, without those that a converter wrote beside the label of the same image.

        An example is `a_labelTrainIds.png` beside `a.png`: it belongs to no image, and its name starts with that of an
        image that has a label.
        """
        paired = images & self.files.keys()
        converted = {name for name in self.files.keys() - images if any(cut in paired for cut in _shorter(name))}
        self.left_out["converted from the label beside it"] = sorted(self.files[name][0] for name in converted)
        return {name: file for name, file in self.files.items() if name not in converted}


def _shorter(name: str) -> Iterator[str]:
    """The part before each separator in a file's name, with its folder."""
    start = name.rfind("/") + 1
    return (name[:end] for end in range(start + 1, len(name)) if name[end] in "_-. ")


def find_pairs(image_dir: Path, label_dir: Path, layout: Layout, only: set[str] | None = None) -> Found:
    """Match the images below one folder with the labels below another.

    Args:
        image_dir: The folder of the images, searched with all its subfolders.
        label_dir: The folder of the labels, searched likewise.
        layout: Defines the suffixes.
        only: Names (without suffix) to restrict the search to; each must exist. None for all.
    """
    remedy = f"Point the data root at the folder that holds {layout.image_dir} and {layout.label_dir}"
    if image_dir == label_dir and {*_several(layout.image_suffix)} & {*layout.label_suffixes}:
        what = "holds both the images and the labels, and the same suffix stands for both"
        return Found([], [Problem(str(image_dir), what, TELL_APART)], [], [])
    suffixes = _several(layout.image_suffix)
    images = _Folder(image_dir, dict.fromkeys(suffixes, ""))
    if problems := images.absent("images", remedy):
        return Found([], problems, [], [])
    labels = _Folder(label_dir, layout.label_suffixes)
    if problems := labels.absent("labels", remedy):
        return Found([], problems, [], [])
    usable = labels.without_converted(images.files.keys())
    pairs, unpaired = [], []
    for name in sorted(set(images.files) | set(usable) if only is None else only):
        if name not in images.files:
            missing = str(image_dir / f"{name}{suffixes[0] if len(suffixes) == 1 else '.*'}")
            unpaired.append(Problem(missing, "image missing", "Download it again, or remove its label"))
        elif name not in usable:
            what = f"no label for this image in {label_dir} ({labels.wanted})"
            unpaired.append(Problem(images.files[name][0], what, "Download the label again, or remove the image"))
        else:
            pairs.append(Pair(images.files[name][0], *usable[name]))
    if layout.splits:  # official downloads also contain other files
        for folder in (images, labels):
            folder.left_out.pop("of another name")
    notes = left_out(image_dir, images.left_out) + left_out(label_dir, labels.left_out)
    return Found(pairs, images.doubles + labels.doubles, unpaired, notes)
