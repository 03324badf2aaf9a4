"""The audit of detection data of your own: a folder of images and a JSON file in COCO's format."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from gcisg_core.files import is_file
from gcisg_core.problems import ABSENT_CLASS, AuditResult, DataError, Problem
from gcisg_suite.audit.images import Look, compare, flat_problem, look
from gcisg_suite.audit.parallel import check_all
from gcisg_suite.classes import named_classes
from gcisg_suite.coco.findings import Level
from gcisg_suite.coco.load import CocoData, normalise, starting_folder
from gcisg_suite.formats.coco import image_root
from gcisg_suite.images import check_boxes_size


def audit_coco(
    root: Path, workers: int = 1, annotations: Path | None = None, classes: Sequence[str] | None = None
) -> AuditResult:
    """Audit a JSON file in COCO's format and the images that it lists, as training reads them.

    Args:
        root: The folder of the images, or a folder with the JSON file and, at any depth, the images.
        workers: Number of processes.
        annotations: The JSON file, as a path or as a name in `root`; by default the only one there.
        classes: The expected names of the categories, or one file that lists them; by default any name is accepted.
    """
    try:
        file, root = _find(root, annotations)
        data = normalise(file, root)
    except DataError as error:
        return AuditResult([error.problem], {"images": 0})
    trained, crowds = (Counter(_names(data, crowd)) for crowd in (0, 1))
    expected = named_classes(classes)[0] if classes else None
    problems = [*_category_faults(data, trained, crowds, expected)]
    checked = check_all(partial(_image, root), data.images, workers)
    for found, _ in checked:
        problems += found
    problems += data.findings.problems(Level.REFUSED, Level.LEFT_OUT)
    looks = [seen for _, seen in checked]
    problems += compare(looks)
    with_boxes = {item["image_id"] for item in data.annotations}
    empty = len(data.images) - len(with_boxes)
    counts = {"images": len(data.images), "images without a box": empty, "boxes": sum(trained.values())}
    if crowds:
        counts["groups (iscrowd)"] = sum(crowds.values())
    counts |= {f"boxes/{name}": trained[name] for name in data.classes}
    return AuditResult(problems, counts, [*data.findings.problems(Level.REPAIRED)], looks=looks, classes=data.classes)


def _find(root: Path, annotations: Path | None) -> tuple[Path, Path]:
    """The JSON file and the folder of the images. Raises `DataError`."""
    if annotations and not is_file(root / annotations):
        return annotations, root
    found = [root / annotations] if annotations else sorted(root.glob("*.json"))
    if len(found) != 1:
        raise DataError(root, f"holds {len(found)} JSON files, expected 1", "Name the file: --annotations FILE")
    try:
        return found[0], image_root(root, found[0])
    except DataError:
        return found[0], root  # each missing image is reported later


def _names(data: CocoData, crowd: int) -> Iterator[str]:
    """The category name of each annotation whose `iscrowd` is `crowd`."""
    names = {item["id"]: item["name"] for item in data.categories}
    return (names[item["category_id"]] for item in data.annotations if item["iscrowd"] == crowd)


def _category_faults(
    data: CocoData, trained: Counter[str], crowds: Counter[str], classes: Sequence[str] | None
) -> Iterator[Problem]:
    """Categories that are unexpected, missing, or without a box to train on."""
    file = str(data.file)
    if not data.annotations and not data.findings.problems(Level.REFUSED, Level.LEFT_OUT):  # these have remedies
        yield Problem(file, "has no annotation that can be used", "Name the file that has them: --annotations FILE")
    for name in data.classes:
        if classes is not None and name not in classes and trained[name] + crowds[name]:
            what = f"category {name!r} is not one of the expected {', '.join(classes)}"
            yield Problem(file, what, "Rename or remove the category", "category that is not expected")
        if crowds[name] and not trained[name]:
            what = f"category {name!r} has no box to train on: all {crowds[name]} are iscrowd 1, which are groups"
            yield Problem(file, what, "Write iscrowd 0 where a box is one object", ABSENT_CLASS)
        elif not trained[name] and data.annotations and (classes is None or name in classes):
            remedy = "Annotate it, or leave it out: remove it from `categories`, or name the others (--classes A B ...)"
            yield Problem(file, f"category {name!r} has no annotation", remedy, ABSENT_CLASS)
    for name in classes or ():
        if name not in data.classes:
            remedy = "Add it to `categories`, with the spelling of the config"
            yield Problem(file, f"category {name!r} is missing", remedy, ABSENT_CLASS)


def _image(root: Path, item: dict[str, Any]) -> tuple[list[Problem], Look | None]:
    path = root / str(item["file_name"])
    if not is_file(path):
        what, folder = "is listed in the JSON file but does not exist", starting_folder(root, str(item["file_name"]))
        start = f"; this one starts from {folder}" if folder else ""
        remedy = (
            f"Restore it, or give the folder that `file_name` starts from (audit: --root, new-project: --images){start}"
        )
        return [Problem(str(path), what, remedy)], None
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
