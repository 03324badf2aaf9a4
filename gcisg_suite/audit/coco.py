"""The audit of detection data of one's own: a folder of images and a JSON file in COCO's format."""

from __future__ import annotations

import json
import math
from collections import Counter
from collections.abc import Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from gcisg_core.problems import AuditResult, DataError, Problem
from gcisg_suite.audit.images import Look, compare, flat_problem, look
from gcisg_suite.audit.parallel import check_all
from gcisg_suite.images import check_boxes_size

LISTS = ("images", "annotations", "categories")
FORMAT = "Write the file in COCO's format for detection"
MARGIN = 1.0  # pixels that a box may reach outside: tools differ in whether a box includes its last pixel


def audit_coco(
    root: Path, workers: int = 1, annotations: Path | None = None, classes: Sequence[str] | None = None
) -> AuditResult:
    """Audit a JSON file in COCO's format and the images that it lists.

    Args:
        root: The folder of the images.
        workers: Processes to use.
        annotations: The JSON file; by default the only one in `root`.
        classes: The names of the categories that are expected; any by default.
    """
    try:
        file = annotations or _only_json(root)
        content = _read(file)
    except DataError as error:
        return AuditResult([error.problem], {"images": 0})
    problems = [Problem(str(file), what, remedy) for what, remedy in _list_faults(content, classes)]
    images = {
        item["id"]: item for item in content["images"] if _named(item.get("id")) and _named(item.get("file_name"))
    }
    looks = check_all(partial(_image, root), list(images.values()), workers)
    for found, _ in looks:
        problems += found
    boxes = _Boxes(
        file, images, {item["id"]: str(item.get("name")) for item in content["categories"] if _named(item.get("id"))}
    )
    problems += boxes.faults(content["annotations"])
    problems += compare(seen for _, seen in looks)
    named = {f"boxes/{name}": boxes.counts[name] for name in boxes.names.values()}
    empty = images.keys() - {item["image_id"] for item in content["annotations"] if _named(item.get("image_id"))}
    counts = {"images": len(images), "images without a box": len(empty), "boxes": sum(named.values())}
    return AuditResult(problems, counts | named)


def _only_json(root: Path) -> Path:
    found = sorted(root.glob("*.json"))
    if len(found) != 1:
        raise DataError(root, f"holds {len(found)} JSON files, expected 1", "Name the file: --annotations FILE")
    return found[0]


def _read(file: Path) -> dict[str, list[dict[str, Any]]]:
    try:
        content = json.loads(file.read_text())
    except (OSError, ValueError) as error:
        raise DataError(file, f"cannot be read as JSON ({error})", FORMAT) from error
    for field in LISTS:
        items = content.get(field) if isinstance(content, dict) else None
        if not isinstance(items, list) or not all(isinstance(item, dict) for item in items):
            raise DataError(file, f"`{field}` is missing or no list of objects", FORMAT)
        if not items:
            raise DataError(file, f"`{field}` is empty", "Point --annotations at the file that has them")
    return content


def _list_faults(content: dict[str, list[dict[str, Any]]], classes: Sequence[str] | None) -> Iterator[tuple[str, str]]:
    """Missing fields and repeated values of the three lists, as (what, remedy)."""
    unique = [("images", "id"), ("images", "file_name"), ("annotations", "id"), ("categories", "id")]
    for field, key in [*unique, ("categories", "name")]:
        for index, item in enumerate(content[field]):
            if not _named(item.get(key)):
                yield f"{field}[{index}].{key} is {item.get(key)!r}, expected a number or name", FORMAT
        values = Counter(item[key] for item in content[field] if _named(item.get(key)))
        for value, times in values.items():
            if times > 1:
                yield f"{field}: {key} {value!r} occurs {times} times", "Give each its own, or remove the repetitions"
    used = {item["category_id"] for item in content["annotations"] if _named(item.get("category_id"))}
    for item in content["categories"]:
        name = item.get("name")
        if classes is not None and name not in classes:
            yield f"category {name!r} is none of the expected {', '.join(classes)}", "Rename or remove the category"
        if _named(item.get("id")) and item["id"] not in used:
            yield f"category {name!r} has no annotation", "Annotate it, or remove it from `categories`"
    for name in set(classes or ()) - {str(item.get("name")) for item in content["categories"]}:
        yield f"category {name!r} is missing", "Add it to `categories`, with the spelling of the config"


def _image(root: Path, item: dict[str, Any]) -> tuple[list[Problem], Look | None]:
    path = root / str(item["file_name"])
    if not path.is_file():
        what = "is listed in the JSON file but does not exist"
        return [Problem(str(path), what, "Restore it, or give the folder that `file_name` starts from as --root")], None
    try:
        seen = look(path)
    except DataError as error:
        return [error.problem], None
    problems = flat_problem(seen)
    try:
        check_boxes_size(path, seen.size, (item.get("width"), item.get("height")), "the JSON file")
    except DataError as error:
        problems.append(error.problem)
    return problems, seen


class _Boxes:
    """Checks annotations; `counts` has the usable boxes of each category by name."""

    def __init__(self, file: Path, images: dict[Any, dict[str, Any]], names: dict[Any, str]) -> None:
        self.file, self.images, self.names = str(file), images, names
        self.counts: Counter[str] = Counter()

    def faults(self, annotations: list[dict[str, Any]]) -> list[Problem]:
        found = [(item, fault) for item in annotations if (fault := self._fault(item))]
        outside = [item for item, (what, _) in found if "outside" in what]
        if 2 * len(outside) > len(annotations) and all(self._fits_as_corners(item) for item in annotations):
            what = f"{len(outside)} of {len(annotations)} boxes reach outside as [x, y, width, height], none as corners"
            found = [(item, fault) for item, fault in found if "outside" not in fault[0]]
            corners = [Problem(self.file, what, "Write [x, y, width, height] in place of [x1, y1, x2, y2]")]
        else:
            corners = []
        where = [f"{self.file} annotation {item.get('id')}" for item, _ in found]
        return corners + [Problem(place, *fault) for place, (_, fault) in zip(where, found, strict=True)]

    def _fault(self, item: dict[str, Any]) -> tuple[str, str] | None:
        box: Any = item.get("bbox")
        if not _named(item.get("image_id")) or item["image_id"] not in self.images:
            return f"image_id {item.get('image_id')!r} is none of `images`", "Restore the image's entry, or remove it"
        if not _named(item.get("category_id")) or item["category_id"] not in self.names:
            return f"category_id {item.get('category_id')!r} is none of `categories`", "Add the category, or remove it"
        if not _is_box(box):
            return f"bbox is {str(box)[:60]}, expected 4 finite numbers [x, y, width, height]", "Correct or remove it"
        x, y, width, height = box
        if width <= 0 or height <= 0:
            return f"bbox {box} has no area", "Remove it: it makes the loss NaN"
        right, bottom = _size(self.images[item["image_id"]])
        if x >= right or y >= bottom or x + width <= 0 or y + height <= 0:
            return f"bbox {box} lies outside its image of {right} x {bottom}", "Correct or remove it"
        if x < -MARGIN or y < -MARGIN or x + width > right + MARGIN or y + height > bottom + MARGIN:
            return f"bbox {box} reaches outside its image of {right} x {bottom}", "Clip it to the image"
        if not isinstance(item.get("area"), (int, float)):
            return "area is missing", "Add it (width times height): COCO's evaluation needs it"
        self.counts[self.names[item["category_id"]]] += 1
        return None

    def _fits_as_corners(self, item: dict[str, Any]) -> bool:
        if not _named(item.get("image_id")) or item["image_id"] not in self.images or not _is_box(item.get("bbox")):
            return False
        (x1, y1, x2, y2), (right, bottom) = item["bbox"], _size(self.images[item["image_id"]])
        return x1 < x2 <= right + MARGIN and y1 < y2 <= bottom + MARGIN


def _named(value: Any) -> bool:
    return isinstance(value, (int, str))


def _size(image: dict[str, Any]) -> tuple[float, float]:
    """Width and height as stated; a missing one bounds nothing, `_image` reports it."""
    stated = (image.get("width"), image.get("height"))
    width, height = (value if isinstance(value, (int, float)) else math.inf for value in stated)
    return width, height


def _is_box(box: Any) -> bool:
    numbers = isinstance(box, list) and len(box) == 4 and all(type(value) in (int, float) for value in box)
    return numbers and all(math.isfinite(value) for value in box)
