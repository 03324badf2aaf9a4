"""Audits of Sim10k and Cityscapes for detection: every file is read, and every problem is one line."""

from __future__ import annotations

from collections import Counter
from functools import partial
from pathlib import Path
from typing import NamedTuple

from gcisg_core.problems import AuditResult, DataError, Problem
from gcisg_suite.audit.images import Look, compare, flat_problem, look, repeated_names
from gcisg_suite.audit.near import near_duplicates
from gcisg_suite.audit.parallel import check_all
from gcisg_suite.images import check_boxes_size

from .datasets import cityscapes, sim10k

OUTSIDE = 1.0  # pixels that a box may reach outside: some published boxes start at 0 instead of 1


class Found(NamedTuple):
    """The result for one image and its annotation."""

    problems: list[Problem]
    counts: Counter
    looks: list[Look]


def _image(file: Path, sizes: set[tuple[int, int]]) -> tuple[list[Problem], list[Look]]:
    """Decode an image and compare its size with those that its annotations state."""
    try:
        seen = look(file)
    except DataError as error:
        return [error.problem], []
    problems = flat_problem(seen)
    for stated in sorted(sizes):
        try:
            check_boxes_size(file, seen.size, stated)
        except DataError as error:
            problems.append(error.problem)
    return problems, [seen]


def _sim10k_image(folder: Path, name: str) -> Found:
    file = folder / "Annotations" / f"{name}.xml"
    image = folder / "JPEGImages" / f"{name}.jpg"
    try:
        width, height, objects = sim10k.parse_annotation(file)
    except DataError as error:
        problems, looks = _image(image, set())
        return Found([error.problem, *problems], Counter(images=1), looks)
    problems, looks = _image(image, {(width, height)})
    boxes, dropped = sim10k.car_boxes(width, height, objects)
    for rule, item in dropped:
        if rule == "degenerate":
            what = f"bndbox {item.box} has no area inside {width} x {height}"
            problems.append(Problem(str(file), what, "Nothing to do: the reader drops this box"))
    degenerate = [item for rule, item in dropped if rule == "degenerate"]
    for item in objects:
        x1, y1, x2, y2 = item.box
        reach = max(1 - x1, 1 - y1, x2 - width, y2 - height)
        if reach > OUTSIDE and item.name == "car" and item not in degenerate:
            what = f"bndbox {item.box} reaches {reach:g} pixels outside {width} x {height}"
            problems.append(Problem(str(file), what, "Nothing to do: the reader clips this box"))
    counts = Counter(images=1, car_boxes=len(boxes), images_without_cars=not boxes)
    counts.update(f"dropped_{rule}" for rule, _ in dropped)
    counts.update(f"other_{item.name}" for item in objects if item.name != "car")
    return Found(problems, counts, looks)


def _cityscapes_image(split: str, image: Path) -> Found:
    problems: list[Problem] = []
    counts = Counter({f"{split}_images": 1})
    sizes = set()
    for convention, (suffix, read) in cityscapes.READERS.items():
        try:
            height, width, boxes = read(cityscapes.annotation_of(image, suffix))
        except DataError as error:
            problems.append(error.problem)
            continue
        sizes.add((width, height))
        counts[f"{split}_{convention}_cars"] += sum(not crowd for _, crowd in boxes)
        counts[f"{split}_{convention}_groups_iscrowd"] += sum(crowd for _, crowd in boxes)
    found, looks = _image(image, sizes)
    return Found(problems + found, counts, looks)


def _collect(found: list[Found]) -> tuple[list[Problem], Counter]:
    """All problems, including those found by comparing images, and all counts."""
    counts: Counter = Counter()
    for item in found:
        counts.update(item.counts)
    problems = [problem for item in found for problem in item.problems]
    return problems + compare(seen for item in found for seen in item.looks), counts


def _duplicates(listing: Path, names: list[str]) -> list[Problem]:
    repeated = [name for name, count in Counter(names).items() if count > 1]
    return [Problem(str(listing), f"lists {name} more than once", "Remove the repeated lines") for name in repeated]


def _unlisted(folder: Path, names: list[str]) -> list[Problem]:
    """Problems for images without an annotation and for annotations without an image, outside of the list."""
    stems = {part: {file.stem for file in (folder / part).iterdir()} for part in ("JPEGImages", "Annotations")}
    problems = []
    for part, other in (("JPEGImages", "Annotations"), ("Annotations", "JPEGImages")):
        if left := sorted(stems[part] - stems[other] - set(names)):
            what = f"{len(left)} files have no counterpart in {other}, such as {left[0]}; the list does not name them"
            problems.append(Problem(str(folder / part), what, "Download the counterparts, or remove the files"))
    return problems


def audit_sim10k(root: Path, workers: int = 1) -> AuditResult:
    """Audit Sim10k.

    Args:
        root: The folder that contains `VOC2012`.
        workers: Number of processes.
    """
    folder, split = root / "VOC2012", "trainval10k"
    try:
        names = sim10k.list_images(folder, split)
    except DataError as error:
        return AuditResult([error.problem], {"images": 0})
    problems, counts = _collect(check_all(partial(_sim10k_image, folder), list(dict.fromkeys(names)), workers))
    problems += _unlisted(folder, names) + _duplicates(folder / "ImageSets" / "Main" / f"{split}.txt", names)
    if not counts["car_boxes"]:
        problems.append(Problem(str(folder / "Annotations"), "no image has a usable `car`", sim10k.DAMAGED))
    return AuditResult(problems, dict(sorted(counts.items())))


def audit_cityscapes_boxes(root: Path, workers: int = 1) -> AuditResult:
    """Audit the car boxes of Cityscapes in both conventions, for those of the splits train and val that exist.

    Args:
        root: The folder that contains `leftImg8bit` and `gtFine`.
        workers: Number of processes.
    """
    faults: list[Problem] = []
    found: list[Found] = []
    looks: dict[str, list[Look]] = {}
    paths: list[Path] = []
    splits = ("train", "val")
    # It is fine if only one split was downloaded, but not if there is none.
    present = [s for s in splits if any((root / part / s).is_dir() for part in ("leftImg8bit", "gtFine"))] or splits
    for split in present:
        try:
            images = cityscapes.list_images(root, split)
        except DataError as error:
            faults.append(error.problem)
            continue
        suffixes = [suffix for suffix, _ in cityscapes.READERS.values()]
        missing = cityscapes.without_image(root, split, suffixes)
        faults += [Problem(str(image), "image missing", cityscapes.MISSING) for image in missing]
        paths += images
        here = check_all(partial(_cityscapes_image, split), images, workers)
        found += here
        looks[split] = [look for item in here for look in item.looks]
        for convention in cityscapes.CONVENTIONS:
            if not any(item.counts[f"{split}_{convention}_cars"] for item in here):
                file = str(root / "gtFine" / split)
                faults.append(Problem(file, f"no image has a car ({convention})", cityscapes.DAMAGED))
    problems, counts = _collect(found)
    problems += near_duplicates(*(looks.get(split, []) for split in splits)) + repeated_names(paths) + faults
    return AuditResult(problems, dict(sorted(counts.items())))
