"""Audits of segmentation data: every pair is decoded and asked what training would ask. No framework needed."""

from __future__ import annotations

import functools
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from cityscapesscripts.helpers.labels import trainId2label

from gcisg_core.problems import AuditResult, DataError, Problem
from gcisg_seg.checks import OFFICIAL, Colour, LabelReader, inspect_pair, own_reader
from gcisg_seg.layouts import IGNORED, LAYOUTS, Pair, find_pairs, own_layout
from gcisg_seg.splits import gtav_split
from gcisg_suite.audit.images import Look, compare, describe, repeated_names
from gcisg_suite.audit.parallel import check_all

CLASSES = [trainId2label[number].name for number in range(19)]


def _check(reader: LabelReader, pair: Pair) -> tuple[list[Problem], Look | None, list[int]]:
    """What is wrong with a pair, its image's look, and the train IDs that its label shows."""
    found = inspect_pair(pair, reader)
    seen = None if found.image is None else describe(pair.image, found.image)
    shown = [] if found.train_ids is None else np.flatnonzero(np.bincount(found.train_ids.ravel())).tolist()
    return found.problems, seen, [number for number in shown if number != IGNORED]


def _audit(
    splits: Mapping[str, Sequence[Pair]],
    workers: int,
    classes: Sequence[str] = CLASSES,
    reader: LabelReader = OFFICIAL,
) -> AuditResult:
    """Check the pairs of all splits together; counts pairs of each, and labels that show a class."""
    pairs = [pair for found in splits.values() for pair in found]
    checked = check_all(functools.partial(_check, reader), pairs, workers, unit="pair")
    problems = [problem for found, _, _ in checked for problem in found]
    problems += compare(seen for _, seen, _ in checked) + repeated_names(pair.image for pair in pairs)
    counts: dict[str, int] = {}
    shown = iter(found for _, _, found in checked)
    for split, members in splits.items():
        labels = Counter(number for _ in members for number in next(shown))
        counts |= {split: len(members), **{f"{split}/{name}": labels[i] for i, name in enumerate(classes)}}
        if len(labels) == 1 and reader is OFFICIAL:
            what = f"every label of split {split} shows the class {classes[next(iter(labels))]!r} alone"
            folder = str(Path(members[0].label).parent)
            problems.append(Problem(folder, what, "Are these the label files of this data set, unconverted?"))
    return AuditResult(problems, counts)


def audit_gtav(root: Path, workers: int = 1) -> AuditResult:
    """Audit GTAV; counts the pairs of the folder and of each split when `split.mat` is there."""
    layout = LAYOUTS["gtav"]
    pairs, problems = find_pairs(root / layout.image_dir, root / layout.label_dir, layout)
    result = _audit({"all": pairs}, workers)
    if (root / "split.mat").exists():
        present = {Path(pair.image).stem for pair in pairs}
        for split in layout.splits[1:]:
            try:
                names = gtav_split(root, split)
            except DataError as error:
                problems.append(error.problem)
                continue
            result.counts[split] = len(names & present)
            if names - present:
                absent = len(names - present)
                what = f"{absent} of the {len(names)} pairs of split {split} are not in the folder"
                problems.append(Problem(str(root / "split.mat"), what, "Fetch the missing parts, or use split='all'"))
    return AuditResult(problems + result.problems, result.counts)


def audit_image_labels(
    images: Path,
    labels: Path,
    classes: Sequence[str],
    colours: Sequence[Colour] | None = None,
    suffixes: tuple[str, str] = (".png", ".png"),
    workers: int = 1,
) -> AuditResult:
    """Audit folders of one's own, as `gcisg_seg.datasets.ImageLabelDataset` reads them; each class must be shown.

    Args:
        images, labels: The two folders.
        classes: Names in the order of the label values.
        colours: Those of the classes, for colour labels.
        suffixes: How images and labels end.
        workers: Processes to use.
    """
    pairs, problems = find_pairs(images, labels, own_layout(*suffixes))
    result = _audit({"all": pairs}, workers, classes, own_reader(len(classes), colours))
    problems += result.problems
    if pairs and not problems:
        remedy = "Mend the list of classes or the labels; masks of 0 and 255 must become 0 and 1"
        problems += [
            Problem(str(labels), f"class {name!r} (value {number}) has no pixel", remedy)
            for number, name in enumerate(classes)
            if not result.counts[f"all/{name}"]
        ]
    return AuditResult(problems, result.counts)


def audit_pairs(
    root: Path,
    workers: int = 1,
    images: str = "images",
    labels: str = "labels",
    image_suffix: str = ".png",
    label_suffix: str = ".png",
    num_classes: int = 19,
) -> AuditResult:
    """`audit_image_labels` of two folders below `root`, the classes known by their number only."""
    classes = [f"class {number}" for number in range(num_classes)]
    return audit_image_labels(root / images, root / labels, classes, None, (image_suffix, label_suffix), workers)


def _audit_splits(name: str, root: Path, workers: int) -> AuditResult:
    layout = LAYOUTS[name]
    pairs: dict[str, list[Pair]] = {}
    problems: list[Problem] = []
    folders = {s: tuple(root / d.format(split=s) for d in (layout.image_dir, layout.label_dir)) for s in layout.splits}
    # A target of which only one split was fetched is in order; a root without any is not.
    present = {s: pair for s, pair in folders.items() if any(folder.is_dir() for folder in pair)} or folders
    for split, (image_dir, label_dir) in present.items():
        pairs[split], faults = find_pairs(image_dir, label_dir, layout)
        problems += faults
    result = _audit(pairs, workers)
    return AuditResult(problems + result.problems, result.counts)


def audit_cityscapes(root: Path, workers: int = 1) -> AuditResult:
    """Audit Cityscapes' train and val folders, those that are there."""
    return _audit_splits("cityscapes", root, workers)


def audit_bdd100k(root: Path, workers: int = 1) -> AuditResult:
    """Audit BDD100K's semantic masks."""
    return _audit_splits("bdd100k", root, workers)


def audit_mapillary(root: Path, workers: int = 1) -> AuditResult:
    """Audit Mapillary Vistas 1.2."""
    return _audit_splits("mapillary", root, workers)
