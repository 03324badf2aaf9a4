"""Audits of segmentation data: every pair is decoded and asked what training would ask. No framework needed."""

from __future__ import annotations

import functools
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from contextlib import nullcontext
from pathlib import Path

import numpy as np
from tqdm import tqdm

from gcisg_core.problems import AuditResult, DataError, Problem
from gcisg_seg.checks import Colour, check_not_flat, check_size, pair_problems, read_class_numbers, read_image
from gcisg_seg.layouts import LAYOUTS, Pair, find_pairs, own_layout
from gcisg_seg.splits import gtav_split


def _check(pairs: list[Pair], workers: int) -> list[Problem]:
    progress = functools.partial(tqdm, total=len(pairs), unit="pair", disable=None)  # silent when not a terminal
    if workers <= 1:
        found = list(progress(map(pair_problems, pairs)))
    else:
        with ProcessPoolExecutor(workers) as pool:
            found = list(progress(pool.map(pair_problems, pairs, chunksize=16)))
    return [problem for problems in found for problem in problems]


def _own_label(classes: int, colours: Sequence[Colour] | None, pair: Pair) -> tuple[list[Problem], np.ndarray]:
    """What is wrong with a pair of one's own, and the pixels of each class."""
    pixels = np.zeros(classes, np.int64)
    try:
        image = read_image(pair.image)
        check_not_flat(pair.image, image)
        numbers = read_class_numbers(pair.label, classes, colours)
        check_size(pair.label, numbers.shape, image.shape[:2])
    except DataError as error:
        return [error.problem], pixels
    return [], np.bincount(numbers.ravel(), minlength=256)[:classes]


def audit_image_labels(
    images: Path,
    labels: Path,
    classes: Sequence[str],
    colours: Sequence[Colour] | None = None,
    suffixes: tuple[str, str] = (".png", ".png"),
    workers: int = 1,
) -> AuditResult:
    """Audit folders of one's own, as `gcisg_seg.datasets.ImageLabelDataset` reads them; counts pixels of each class.

    Args:
        images, labels: The two folders.
        classes: Names in the order of the label values.
        colours: Those of the classes, for colour labels.
        suffixes: How images and labels end.
        workers: Processes to use.
    """
    pairs, problems = find_pairs(images, labels, own_layout(*suffixes))
    work = functools.partial(_own_label, len(classes), colours)
    with ProcessPoolExecutor(workers) if workers > 1 else nullcontext() as pool:
        found = list(pool.map(work, pairs, chunksize=16) if pool else map(work, pairs))
    problems += [problem for wrong, _ in found for problem in wrong]
    pixels = sum((counted for _, counted in found), np.zeros(len(classes), np.int64))
    if pairs and not problems:
        remedy = "Mend the list of classes or the labels; masks of 0 and 255 must become 0 and 1"
        problems += [
            Problem(str(labels), f"class {name!r} (value {number}) has no pixel", remedy)
            for number, name in enumerate(classes)
            if not pixels[number]
        ]
    counts = {f"pixels of {name}": int(count) for name, count in zip(classes, pixels, strict=True)}
    return AuditResult(problems, {"pairs": len(pairs), **counts})


def audit_gtav(root: Path, workers: int = 1) -> AuditResult:
    """Audit GTAV; counts the pairs of the folder and of each split when `split.mat` is there."""
    layout = LAYOUTS["gtav"]
    pairs, problems = find_pairs(root / layout.image_dir, root / layout.label_dir, layout)
    counts = {"all": len(pairs)}
    if (root / "split.mat").exists():
        present = {Path(pair.image).stem for pair in pairs}
        for split in layout.splits[1:]:
            try:
                names = gtav_split(root, split)
            except DataError as error:
                problems.append(error.problem)
                continue
            counts[split] = len(names & present)
            if counts[split] < len(names):
                what = f"{len(names) - counts[split]} of the {len(names)} pairs of split {split} are not in the folder"
                problems.append(Problem(str(root / "split.mat"), what, "Fetch the missing parts, or use split='all'"))
    return AuditResult(problems + _check(pairs, workers), counts)


def _audit_splits(name: str, root: Path, workers: int) -> AuditResult:
    layout = LAYOUTS[name]
    pairs: list[Pair] = []
    problems: list[Problem] = []
    counts: dict[str, int] = {}
    folders = {s: tuple(root / d.format(split=s) for d in (layout.image_dir, layout.label_dir)) for s in layout.splits}
    # A target of which only one split was fetched is in order; a root without any is not.
    present = {s: pair for s, pair in folders.items() if any(folder.is_dir() for folder in pair)} or folders
    for split, (image_dir, label_dir) in present.items():
        found, faults = find_pairs(image_dir, label_dir, layout)
        counts[split] = len(found)
        pairs += found
        problems += faults
    return AuditResult(problems + _check(pairs, workers), counts)


def audit_cityscapes(root: Path, workers: int = 1) -> AuditResult:
    """Audit Cityscapes' train and val folders, those that are there."""
    return _audit_splits("cityscapes", root, workers)


def audit_bdd100k(root: Path, workers: int = 1) -> AuditResult:
    """Audit BDD100K's semantic masks."""
    return _audit_splits("bdd100k", root, workers)


def audit_mapillary(root: Path, workers: int = 1) -> AuditResult:
    """Audit Mapillary Vistas 1.2."""
    return _audit_splits("mapillary", root, workers)
