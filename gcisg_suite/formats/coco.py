"""COCO's JSON format, at any place below a folder.

Reads `annotations.json` with `images/`, exports of Roboflow and CVAT, the layout of COCO itself,
`coco_annotations.json` of BlenderProc's COCO writer, and ACDC's labels for detection.
"""

from __future__ import annotations

import functools
from pathlib import Path
from typing import Any

import numpy as np

from gcisg_core.files import is_file
from gcisg_core.problems import DataError
from gcisg_suite.coco.findings import Level
from gcisg_suite.coco.load import CocoData, load_coco, normalise, read_lists
from gcisg_suite.folders import is_hidden
from gcisg_suite.formats.forms import (
    BACKGROUND,
    PARTS,
    Box,
    BoxImage,
    Data,
    Labels,
    MaskImage,
    folders_below,
)
from gcisg_suite.text import read_json

USUAL = ("annotations.json", "coco_annotations.json", "_annotations.coco.json")
DEEPEST = 3  # levels of folders below the root that are searched for a file
KEYS = ("images", "annotations", "categories")


def _looks_like_coco(path: Path) -> bool:
    """Judged by the first and last 4 KiB, as files may be large."""
    with path.open("rb") as file:
        start = file.read(4096)
        file.seek(max(path.stat().st_size - 4096, 0))
        text = (start + file.read()).replace(b"\0", b"")
    if any(f'"{key}"'.encode() in text for key in ("categories", "annotations")):
        return True
    return path.name in USUAL or path.name.startswith("instances")


def coco_files(folder: Path) -> list[Path]:
    """JSON files that look like COCO's; if some have a usual name, only those."""
    found = [
        path
        for path in sorted(folder.rglob("*.json"))
        if len(path.relative_to(folder).parts) <= DEEPEST + 1 and not is_hidden(path.relative_to(folder))
    ]
    found = [path for path in found if not path.name.endswith(("_test_image_info.json", ".frame_data.json"))]
    usual = [path for path in found if path.name in USUAL or path.name.startswith("instances")]
    return [path for path in usual or found if _looks_like_coco(path)]


def is_coco(folder: Path) -> bool:
    """Whether the folder has a JSON file in COCO's format: an object with the three lists."""
    return any(path.name in USUAL or _has_lists(path) for path in coco_files(folder)[:5])


def _has_lists(path: Path) -> bool:
    try:
        content = read_json(path, "")
    except DataError:
        return False
    return isinstance(content, dict) and all(isinstance(content.get(key), list) for key in KEYS)


def find_file(folder: Path, role: str) -> Path:
    """The file of the role's part. Raises `DataError` if there is none, or more than one."""
    files = coco_files(folder)
    parts = ([path for path in files if _names(path.relative_to(folder), part)] for part in PARTS[role])
    chosen = next(filter(None, parts), files)
    least = min((len(path.parts) for path in chosen), default=0)
    chosen = [path for path in chosen if len(path.parts) == least]
    if len(chosen) != 1:
        names = ", ".join(str(path.relative_to(folder)) for path in chosen[:5]) or "none"
        what = (
            f"holds {len(chosen)} JSON files in COCO's format ({names}), expected 1, or one for train and one for val"
        )
        raise DataError(folder, what, "Name the file: --labels FILE")
    return chosen[0]


def _names(path: Path, part: str) -> bool:
    """Whether one of the words in a path, without digits at its end, is the name of the part."""
    words = path.as_posix().lower().replace(".", "_").replace("/", "_").replace("-", "_").split("_")
    return any(word.rstrip("0123456789") == part for word in words)


def image_root(folder: Path, file: Path) -> Path:
    """The folder that the file names are relative to, found by the first existing image. Raises `DataError`."""
    first = [str(item.get("file_name", "")).replace("\\", "/") for item in read_lists(file)["images"][:20]]
    usual = [file.parent, folder / "images", file.parent / "images", folder, file.parent.parent]
    for root in (*usual, *folders_below(folder, DEEPEST)):
        if any(name and is_file(root / name) for name in first):
            return root
    what = f"its images, such as {first[0]!r}, were not found below {folder}"
    raise DataError(file, what, "Put the images there, or correct `file_name`")


def read_boxes(folder: Path, role: str) -> Data:
    """Boxes, normalised by :func:`gcisg_suite.coco.load.load_coco`."""
    file = find_file(folder, role)
    return boxes_of(file, image_root(folder, file))


def boxes_of(file: Path, root: Path) -> Data:
    """The boxes of one file, whose images are in `root`."""
    data = load_coco(file, root)
    images = {
        item["id"]: BoxImage(root / item["file_name"], (item["width"], item["height"]), []) for item in data.images
    }
    names = {item["id"]: item["name"] for item in data.categories}
    for item in data.annotations:
        x, y, width, height = item["bbox"]
        box = Box(names[item["category_id"]], (x, y, x + width, y + height), bool(item["iscrowd"]))
        images[item["image_id"]].boxes.append(box)
    return _with_findings(Data(root, [*images.values()], data.classes), data)


def _with_findings(found: Data, data: CocoData) -> Data:
    for finding in data.findings:
        if finding.level is Level.LEFT_OUT:
            found.leave(finding.kind.removesuffix(", left out"), finding.examples[0], finding.count)
    return found


def read_masks(folder: Path, role: str) -> Data:
    """Masks of the role's file, see :func:`masks_of`."""
    file = find_file(folder, role)
    return masks_of(file, image_root(folder, file))


def masks_of(file: Path, root: Path) -> Data:
    """Labels made from the objects' masks: groups first, later objects over earlier ones; the rest is background.

    Raises:
        DataError: as for detection, or no annotation has a mask.
    """
    data = normalise(file, root, "bitmask")
    data.findings.raise_refused()
    if not data.annotations:
        raise DataError(file, "has no annotation with a mask (`segmentation`)", "Use --task detection for boxes")
    names = {item["id"]: item["name"] for item in data.categories}
    parts: dict[int, list[tuple[str, Any]]] = {item["id"]: [] for item in data.images}
    for item in sorted(data.annotations, key=lambda item: -item["iscrowd"]):
        parts[item["image_id"]].append((names[item["category_id"]], item["segmentation"]))
    images = []
    for item in data.images:
        paint = functools.partial(_paint, (item["height"], item["width"]), parts[item["id"]], data.classes)
        images.append(MaskImage(root / item["file_name"], paint))
    used = {name for found in parts.values() for name, _ in found}
    return _with_findings(Data(root, images, [BACKGROUND, *(name for name in data.classes if name in used)]), data)


def _paint(size: tuple[int, int], parts: list[tuple[str, Any]], classes: list[str]) -> Labels:
    from pycocotools import mask as masks  # only needed here

    values = np.zeros(size, np.uint8)
    for name, given in parts:
        if isinstance(given, dict) and isinstance(given["counts"], str):
            runs = given
        else:
            runs = masks.frPyObjects(given, *size)
        runs = masks.merge(runs) if isinstance(runs, list) else runs
        values[masks.decode(runs) > 0] = 1 + classes.index(name)
    return Labels(values, dict(enumerate((BACKGROUND, *classes))))
