"""The output of simulators: NVIDIA Replicator's BasicWriter and Unity Perception's SOLO.

Sources: the documentation of Omniverse Replicator, and the SOLO schema of Unity Perception 1.0.
Replicator's x_max and y_max are inclusive: they are the last pixel of a box. The documentation does not say so, but
NVIDIA's own test of the sensor shows it (omni.syntheticdata, `test_bbox2d_tight.py`): a cube in the middle of
1280 x 720 pixels has x from 301 to 978 and y from 21 to 698, which is symmetric only if both ends are included.
"""

from __future__ import annotations

import functools
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from gcisg_core.files import is_file
from gcisg_core.problems import DataError, reading
from gcisg_suite.coco.values import shown
from gcisg_suite.formats.colours import Keys, labels_by_colour
from gcisg_suite.formats.forms import (
    BACKGROUND,
    Box,
    BoxImage,
    Data,
    Labels,
    MaskImage,
    beside,
    entries,
    finite,
    names_of,
    required_image,
    text_of,
)
from gcisg_suite.progress import progress
from gcisg_suite.text import read_json

TIGHT, SEMANTIC = "bounding_box_2d_tight_", "semantic_segmentation_"
SIDES = ("x_min", "y_min", "x_max", "y_max")
WRITER = "Write the frame again with BasicWriter, or remove its files"
SOLO = "Write the sequence again, or remove its folder"
FRAMES = "sequence.*/step*.frame*.json"
BOXES_2D, CLASSES_2D = "BoundingBox2DAnnotation", "SemanticSegmentationAnnotation"
NONE = ("BACKGROUND", "UNLABELLED")


def is_replicator(folder: Path) -> bool:
    """Whether there are files `rgb_<frame>` and the writer's boxes or classes."""
    return any(folder.rglob("rgb_*")) and any(any(folder.rglob(f"{kind}*")) for kind in (TIGHT, SEMANTIC))


def _replicator_image(file: Path, kind: str) -> Path:
    """`rgb_<frame>` in the same folder or, with several cameras, in the folder `rgb` beside it."""
    frame = file.stem.removeprefix(kind)
    return beside(file.parent.parent / "rgb" / f"rgb_{frame}") or required_image(file.parent / f"rgb_{frame}", file)


def _semantics(file: Path, kind: str) -> dict[str, str]:
    """Key (a number, or a colour as a string) -> class, from the JSON file that belongs to `file`."""
    labels = file.with_name(f"{kind}labels_{file.stem.removeprefix(kind)}.json")
    content = read_json(labels, WRITER)
    if not isinstance(content, dict):
        raise DataError(labels, f"holds {shown(content)}, expected an object", WRITER)
    found = {}
    for key, value in content.items():
        named = value if isinstance(value, dict) else {"class": value}
        name = named.get("class") or next(iter(named.values()), None)
        if not isinstance(name, str):
            raise DataError(labels, f"{key}.class is {shown(name)}, expected a string", WRITER)
        found[key] = BACKGROUND if name.upper() in NONE else name
    return found


def replicator_boxes(folder: Path, role: str) -> Data:
    """The tight boxes, which enclose the visible parts of objects."""
    data = Data(folder, [], [])
    for file in progress(sorted(folder.rglob(f"{TIGHT}*.npy")), "reading", "file"):
        with reading(file, "an array", WRITER):
            rows = np.load(file, allow_pickle=False)
        missing = [name for name in ("semanticId", *SIDES) if name not in (rows.dtype.names or ())]
        if missing:
            raise DataError(file, f"has no field {missing[0]}, expected semanticId, {', '.join(SIDES)}", WRITER)
        semantics, boxes = _semantics(file, TIGHT), []
        for row in rows.reshape(-1):
            name = semantics.get(str(row["semanticId"]))
            if name is None:
                what = f"semanticId is {row['semanticId']}, expected one of {', '.join(semantics)}"
                raise DataError(file, what, WRITER)
            x1, y1, x2, y2 = (float(row[side]) for side in SIDES)
            if name == BACKGROUND:
                data.leave("boxes without a label", file.name)
            else:
                boxes.append(Box(name, (x1, y1, x2 + 1, y2 + 1)))
        data.images.append(BoxImage(_replicator_image(file, TIGHT), None, boxes))
    if not data.images:
        raise DataError(folder, f"holds no {TIGHT}<frame>.npy", "Set bounding_box_2d_tight=True on the writer")
    data.classes = names_of(data.images)
    return data


def replicator_masks(folder: Path, role: str) -> Data:
    """Classes by colour or number; empty space and unlabelled objects are background."""
    images, classes = [], {BACKGROUND: None}
    for file in progress(sorted(folder.rglob(f"{SEMANTIC}*.png")), "reading", "file"):
        semantics = _semantics(file, SEMANTIC)
        classes |= dict.fromkeys(sorted(semantics.values()))
        paint = functools.partial(
            labels_by_colour, file, {_colour(key): name for key, name in semantics.items()}, WRITER
        )
        images.append(MaskImage(_replicator_image(file, SEMANTIC), paint))
    if not images:
        raise DataError(folder, f"holds no {SEMANTIC}<frame>.png", "Set semantic_segmentation=True on the writer")
    return Data(folder, images, [*classes])


def _colour(key: str) -> tuple[int, ...]:
    """The numbers of "(25, 255, 82, 255)" or of "3"."""
    return tuple(map(int, re.findall(r"\d+", key)))


def is_solo(folder: Path) -> bool:
    """Whether there are folders of sequences with frames."""
    return any(folder.glob(FRAMES))


def _captures(folder: Path, kind: str) -> list[tuple[Path, str, dict[str, Any], dict[str, Any]]]:
    """File, place, capture and annotation for each annotation of this type in the frames of RGB cameras."""
    found = []
    for file in progress(sorted(folder.glob(FRAMES), key=_natural), "reading", "file"):
        for where, capture in entries(read_json(file, SOLO), "captures", file, "", SOLO):
            if not str(capture.get("@type", "RGBCamera")).endswith("RGBCamera"):
                continue
            for place, annotation in entries(capture, "annotations", file, where, SOLO):
                if str(annotation.get("@type")).rpartition(".")[2] == kind:
                    found.append((file, place, capture, annotation))
    if not found:
        raise DataError(folder, f"its frames have no {kind}", "Add the labeler to the Perception camera")
    return found


def _natural(path: Path) -> list[Any]:
    return [int(word) if word.isdecimal() else word for word in re.split(r"(\d+)", path.as_posix())]


def _solo_image(file: Path, capture: dict[str, Any]) -> Path:
    path = file.parent / text_of(capture, "filename", file, "capture", SOLO)
    if not is_file(path):
        raise DataError(file, f"its image {path.name} does not exist", SOLO)
    return path


def solo_boxes(folder: Path, role: str) -> Data:
    """Boxes of the 2D bounding box labeler."""
    images = []
    for file, where, capture, annotation in _captures(folder, BOXES_2D):
        boxes = []
        given = {**annotation, "values": annotation.get("values") or []}  # missing in a frame without objects
        for place, item in entries(given, "values", file, where, SOLO):
            pairs: list[Any] = [item.get(key) for key in ("origin", "dimension")]
            if not all(isinstance(pair, list) and len(pair) == 2 for pair in pairs):
                raise DataError(
                    file, f"{place}: origin and dimension are {shown(pairs)}, expected 2 numbers each", SOLO
                )
            x, y, width, height = (
                finite(value, file, f"{place}.origin or dimension", SOLO) for p in pairs for value in p
            )
            boxes.append(Box(text_of(item, "labelName", file, place, SOLO), (x, y, x + width, y + height)))
        images.append(BoxImage(_solo_image(file, capture), None, boxes))
    return Data(folder, images, names_of(images))


def solo_masks(folder: Path, role: str) -> Data:
    """Classes by the colours of the semantic segmentation labeler; unlabelled pixels (black) become background."""
    images, classes = [], {BACKGROUND: None}
    for file, where, capture, annotation in _captures(folder, CLASSES_2D):
        names = {}
        given = {**annotation, "instances": annotation.get("instances") or []}
        for place, item in entries(given, "instances", file, where, SOLO):
            colour = item.get("pixelValue", item.get("color"))
            if not isinstance(colour, list) or len(colour) != 4:
                raise DataError(file, f"{place}.pixelValue is {shown(colour)}, expected [R, G, B, A]", SOLO)
            numbers = [int(finite(value, file, f"{place}.pixelValue", SOLO)) for value in colour]
            names[tuple(numbers)] = text_of(item, "labelName", file, place, SOLO)
        classes |= dict.fromkeys(sorted(names.values()))
        mask = file.parent / text_of(annotation, "filename", file, where, SOLO)
        images.append(MaskImage(_solo_image(file, capture), functools.partial(_solo_label, mask, names)))
    return Data(folder, images, [*classes])


def _solo_label(mask: Path, names: Mapping[tuple[int, ...], str]) -> Labels:
    black: Keys = {(0, 0, 0, alpha): BACKGROUND for alpha in (0, 255)}
    return labels_by_colour(mask, {**black, **names}, SOLO)
