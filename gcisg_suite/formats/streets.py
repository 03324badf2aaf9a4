"""Boxes of street scenes: Cityscapes, Foggy Cityscapes, BDD100K and SHIFT.

BDD100K and SHIFT use Scalabel's format. Its boxes include the last pixel, so 1 is added to x2 and y2, as in
`scalabel.label.transforms.box2d_to_bbox`.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from gcisg_core.files import is_file
from gcisg_core.problems import DataError, reading
from gcisg_suite.coco.values import shown
from gcisg_suite.formats.forms import (
    PARTS,
    Box,
    BoxImage,
    Data,
    around,
    entries,
    finite,
    names_of,
    part_of,
    text_of,
)
from gcisg_suite.progress import progress
from gcisg_suite.text import read_json

# Cityscapes' label IDs of the evaluated classes with instances.
THINGS = {24: "person", 25: "rider", 26: "car", 27: "truck", 28: "bus", 31: "train", 32: "motorcycle", 33: "bicycle"}
FINE = "Unpack gtFine_trainvaltest.zip beside the images"
FRAMES = "Take the label file of the official download"
FOGGY = "_leftImg8bit_foggy_beta_0.02.png"  # the fog density that papers report results for
BOXES_2018 = "bdd100k_labels_images_{}.json"


def is_cityscapes(folder: Path) -> bool:
    """Whether there are `leftImg8bit` and `gtFine`."""
    return (folder / "leftImg8bit").is_dir() and (folder / "gtFine").is_dir()


def is_foggy(folder: Path) -> bool:
    """Whether there are `leftImg8bit_foggy` and `gtFine`."""
    return (folder / "leftImg8bit_foggy").is_dir() and (folder / "gtFine").is_dir()


def read_cityscapes(folder: Path, role: str) -> Data:
    """Tight boxes of the 8 classes with instances, from `instanceIds.png`; groups are crowds."""
    return _instances(folder, role, "leftImg8bit", "_leftImg8bit.png")


def read_foggy(folder: Path, role: str) -> Data:
    """As :func:`read_cityscapes`, for the images with a fog density of 0.02."""
    return _instances(folder, role, "leftImg8bit_foggy", FOGGY)


def _instances(folder: Path, role: str, images_in: str, suffix: str) -> Data:
    part = part_of([path.name for path in (folder / images_in).iterdir()], role) or "val"
    files = sorted((folder / images_in / part).glob(f"*/*{suffix}"))
    if not files:
        raise DataError(folder / images_in / part, f"holds no <city>/*{suffix}", "Unpack the images there")
    images = []
    for path in progress(files, "reading", "file"):
        label = folder / "gtFine" / part / path.parent.name / path.name.replace(suffix, "_gtFine_instanceIds.png")
        with reading(label, "an image", FINE), Image.open(label) as image:
            ids = np.asarray(image)
        if ids.ndim != 2:
            raise DataError(label, f"has {ids.shape[2]} channels, expected 1 channel with instance IDs", FINE)
        boxes = []
        for value in np.unique(ids).tolist():
            name = THINGS.get(value // 1000 if value >= 1000 else value)
            if name and (corners := around(ids == value)):
                boxes.append(Box(name, corners, value < 1000))
        images.append(BoxImage(path, (ids.shape[1], ids.shape[0]), boxes))
    return Data(folder, images, [*THINGS.values()])


def _below(folder: Path, *names: str) -> list[Path]:
    """Paths that match these patterns, in the folder or in its `bdd100k`, which some downloads contain."""
    homes = (folder, folder / "bdd100k")
    return [path for home in homes for name in names for path in sorted(home.glob(name)) if path.exists()]


def _bdd_labels(folder: Path, role: str) -> tuple[Path, str] | None:
    """The labels of the role's part, and the part: the file of 2020 or 2018, or a folder with one file per image."""
    for part in PARTS[role]:
        found = _below(
            folder, f"labels/det_20/det_{part}.json", f"labels/{BOXES_2018.format(part)}", f"labels/100k/{part}"
        )
        if found:
            return found[0], part
    return None


def is_bdd(folder: Path) -> bool:
    """Whether there are BDD100K's box labels, in any of their three layouts."""
    return _bdd_labels(folder, "all") is not None


def read_bdd(folder: Path, role: str) -> Data:
    """Boxes from `det_20`, from the release of 2018, or from one JSON file for each image."""
    labels, part = _bdd_labels(folder, role) or (folder / "labels", "val")
    homes = _below(folder, f"images/100k/{part}")
    if not homes:
        raise DataError(labels, f"has no images beside it: no images/100k/{part}", "Unpack the images there")
    if labels.is_dir():
        files = progress(sorted(labels.glob("*.json")), "reading", "file")
        found = [(path, read_json(path, FRAMES)) for path in files]
        frames = [(path, "", {**content, "labels": _only_frame(path, content)}) for path, content in found]
        frames = [(path, where, {**item, "name": f"{path.stem}.jpg"}) for path, where, item in frames]
    else:
        content = read_json(labels, FRAMES)
        content = content if isinstance(content, dict) else {"frames": content}
        frames = [(labels, *pair) for pair in entries(content, "frames", labels, "", FRAMES)]
    nested = {path.name: path for path in homes[0].rglob("*.jpg")}  # some mirrors split train into subfolders
    return _scalabel(homes[0], frames, lambda frame: nested.get(frame["name"]))


def _only_frame(path: Path, content: Any) -> Any:
    """The objects in the file of a single image, whose list of frames has one entry."""
    frames = [item for _, item in entries(content, "frames", path, "", FRAMES)]
    if len(frames) != 1:
        raise DataError(path, f"frames has {len(frames)} entries, expected 1", FRAMES)
    return frames[0].get("objects")


def _shift_file(folder: Path, role: str) -> Path | None:
    homes = [folder, folder / "discrete/images"]
    for part in PARTS[role]:
        homes += [folder / part / "front", folder / "discrete/images" / part / "front"]
    return next((home / "det_2d.json" for home in homes[::-1] if (home / "det_2d.json").is_file()), None)


def is_shift(folder: Path) -> bool:
    """Whether there is SHIFT's `det_2d.json`."""
    return _shift_file(folder, "all") is not None


def read_shift(folder: Path, role: str) -> Data:
    """Boxes of the front camera, from `det_2d.json` and the images `img/<video>/<name>` beside it."""
    file = _shift_file(folder, role) or folder / "det_2d.json"
    content = read_json(file, FRAMES)
    frames = [(file, *pair) for pair in entries(content, "frames", file, "", FRAMES)]
    return _scalabel(file.parent / "img", frames, lambda frame: _shift_image(file.parent / "img", frame))


def _shift_image(root: Path, frame: dict[str, Any]) -> Path | None:
    path = root / str(frame.get("videoName") or "") / frame["name"]
    return path if is_file(path) else None


def _scalabel(
    root: Path,
    frames: list[tuple[Path, str, dict[str, Any]]],
    find: Callable[[dict[str, Any]], Path | None],
) -> Data:
    """Boxes of frames. Labels without `box2d`, such as lanes and drivable areas, are not objects."""
    data = Data(root, [], [])
    for file, where, frame in frames:
        name = text_of(frame, "name", file, where, FRAMES)
        path = find(frame)
        if path is None:
            data.leave("frames whose image is missing", name)
            continue
        boxes = []
        given = {**frame, "labels": frame.get("labels") or []}
        for place, item in entries(given, "labels", file, where, FRAMES):
            box = item.get("box2d")
            if box is None:
                continue
            if not isinstance(box, dict):
                raise DataError(file, f"{place}.box2d is {shown(box)}, expected x1, y1, x2, y2", FRAMES)
            x1, y1, x2, y2 = (finite(box.get(k), file, f"{place}.box2d.{k}", FRAMES) for k in ("x1", "y1", "x2", "y2"))
            category = text_of(item, "category", file, place, FRAMES)
            attributes = item.get("attributes")
            crowd = isinstance(attributes, dict) and bool(attributes.get("crowd"))
            boxes.append(Box(category, (x1, y1, x2 + 1, y2 + 1), crowd))
        data.images.append(BoxImage(path, None, boxes))
    if not data.images:
        raise DataError(
            root, f"holds no image of the {len(frames)} frames in {frames[0][0] if frames else 'the labels'}", FRAMES
        )
    data.classes = names_of(data.images)
    return data
