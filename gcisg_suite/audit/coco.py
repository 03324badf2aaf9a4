"""The audit of detection data of one's own: a folder of images and a JSON file in COCO's format."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from gcisg_core.problems import AuditResult, DataError, Problem
from gcisg_suite.audit.images import Look, compare, flat_problem, look
from gcisg_suite.audit.parallel import check_all
from gcisg_suite.coco.findings import Level
from gcisg_suite.coco.load import CocoData, normalise
from gcisg_suite.images import check_boxes_size


def audit_coco(
    root: Path, workers: int = 1, annotations: Path | None = None, classes: Sequence[str] | None = None
) -> AuditResult:
    """Audit a JSON file in COCO's format and the images that it lists, as training reads them.

    Args:
        root: The folder of the images.
        workers: Processes to use.
        annotations: The JSON file; by default the only one in `root`.
        classes: The names of the categories that are expected; any by default.
    """
    try:
        data = normalise(annotations or _only_json(root), root)
    except DataError as error:
        return AuditResult([error.problem], {"images": 0})
    trained, crowds = (Counter(_names(data, crowd)) for crowd in (0, 1))
    problems = [Problem(str(data.file), *fault) for fault in _category_faults(data, trained, crowds, classes)]
    looks = check_all(partial(_image, root), data.images, workers)
    for found, _ in looks:
        problems += found
    problems += data.findings.problems(Level.REFUSED, Level.LEFT_OUT)
    problems += compare(seen for _, seen in looks)
    with_boxes = {item["image_id"] for item in data.annotations}
    empty = len(data.images) - len(with_boxes)
    counts = {"images": len(data.images), "images without a box": empty, "boxes": sum(trained.values())}
    if crowds:
        counts["groups (iscrowd)"] = sum(crowds.values())
    counts |= {f"boxes/{name}": trained[name] for name in data.classes}
    return AuditResult(problems, counts, [*data.findings.problems(Level.REPAIRED)])


def _only_json(root: Path) -> Path:
    found = sorted(root.glob("*.json"))
    if len(found) != 1:
        raise DataError(root, f"holds {len(found)} JSON files, expected 1", "Name the file: --annotations FILE")
    return found[0]


def _names(data: CocoData, crowd: int) -> Iterator[str]:
    """The category of each annotation that is a group, or is none."""
    names = {item["id"]: item["name"] for item in data.categories}
    return (names[item["category_id"]] for item in data.annotations if item["iscrowd"] == crowd)


def _category_faults(
    data: CocoData, trained: Counter[str], crowds: Counter[str], classes: Sequence[str] | None
) -> Iterator[tuple[str, str]]:
    """Categories that are not expected, missing, or without a box to train on, as (what, remedy)."""
    if not data.annotations:
        yield "has no annotation that can be used", "Name the file that has them: --annotations FILE"
    for name in data.classes:
        if classes is not None and name not in classes:
            yield f"category {name!r} is none of the expected {', '.join(classes)}", "Rename or remove the category"
        if crowds[name] and not trained[name]:
            what = f"category {name!r} has no box to train on: all {crowds[name]} are iscrowd 1, which are groups"
            yield what, "Write iscrowd 0 where a box is one object"
        elif not trained[name] and data.annotations:
            yield (
                f"category {name!r} has no annotation",
                "Annotate it, or leave it out of `categories` (new-project: of --classes)",
            )
    for name in classes or ():
        if name not in data.classes:
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
