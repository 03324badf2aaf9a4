"""Audits of the detection data for `tools/audit_data.py`: every file is read, every defect is one line."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from pathlib import Path

from PIL import Image

from gcisg_core.problems import AuditResult, DataError, Problem

from .datasets import cityscapes, sim10k

Found = tuple[list[Problem], Counter]


def _image_problem(file: Path, width: int, height: int) -> list[Problem]:
    try:
        with Image.open(file) as image:
            image.load()
            size = image.size
    except (OSError, SyntaxError) as error:
        return [Problem(str(file), f"cannot be decoded ({error})", "Unpack this image again from its download")]
    if size != (width, height):
        what = f"is {size[0]} x {size[1]} pixels, its annotation says {width} x {height}"
        return [Problem(str(file), what, "Unpack image and annotation again; one of them is of another release")]
    return []


def _sim10k_image(folder: Path, name: str) -> Found:
    file = folder / "Annotations" / f"{name}.xml"
    try:
        width, height, objects = sim10k.parse_annotation(file)
    except DataError as error:
        return [error.problem], Counter(images=1)
    problems = _image_problem(folder / "JPEGImages" / f"{name}.jpg", width, height)
    boxes, dropped = sim10k.car_boxes(width, height, objects)
    for rule, item in dropped:
        if rule == "degenerate":
            what = f"bndbox {item.box} has no area inside {width} x {height}"
            problems.append(Problem(str(file), what, "Nothing to do: the reader drops this box"))
    counts = Counter(images=1, car_boxes=len(boxes), images_without_cars=not boxes)
    counts.update(f"dropped_{rule}" for rule, _ in dropped)
    counts.update(f"other_{item.name}" for item in objects if item.name != "car")
    return problems, counts


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
    for size in sorted(sizes):
        problems += [item for item in _image_problem(image, *size) if item not in problems]
    return problems, counts


def _collect(work: Callable[..., Found], items: list, workers: int) -> Found:
    problems: list[Problem] = []
    counts: Counter = Counter()
    with ProcessPoolExecutor(max(workers, 1)) as pool:
        for found, number in pool.map(work, items, chunksize=16):
            problems += found
            counts.update(number)
    return problems, counts


def _duplicates(listing: Path, names: list[str]) -> list[Problem]:
    repeated = [name for name, count in Counter(names).items() if count > 1]
    return [Problem(str(listing), f"lists {name} more than once", "Remove the repeated lines") for name in repeated]


def audit_sim10k(root: Path, workers: int = 1) -> AuditResult:
    """Audits Sim10k.

    Args:
        root: The folder that holds `VOC2012`.
        workers: Processes to use.
    """
    folder, split = root / "VOC2012", "trainval10k"
    try:
        names = sim10k.list_images(folder, split)
    except DataError as error:
        return AuditResult([error.problem], {"images": 0})
    problems, counts = _collect(partial(_sim10k_image, folder), list(dict.fromkeys(names)), workers)
    problems += _duplicates(folder / "ImageSets" / "Main" / f"{split}.txt", names)
    if not counts["car_boxes"]:
        problems.append(Problem(str(folder / "Annotations"), "no image has a usable `car`", sim10k.DAMAGED))
    return AuditResult(problems, dict(sorted(counts.items())))


def audit_cityscapes_boxes(root: Path, workers: int = 1) -> AuditResult:
    """Audits the car boxes of Cityscapes, train and val, in both conventions.

    Args:
        root: The folder that holds `leftImg8bit` and `gtFine`.
        workers: Processes to use.
    """
    problems: list[Problem] = []
    counts: Counter = Counter()
    for split in ("train", "val"):
        try:
            images = cityscapes.list_images(root, split)
        except DataError as error:
            problems.append(error.problem)
            continue
        found, number = _collect(partial(_cityscapes_image, split), images, workers)
        problems += found
        counts.update(number)
        for convention in cityscapes.CONVENTIONS:
            if not number[f"{split}_{convention}_cars"]:
                file = str(root / "gtFine" / split)
                problems.append(Problem(file, f"no image has a car ({convention})", cityscapes.DAMAGED))
    return AuditResult(problems, dict(sorted(counts.items())))
