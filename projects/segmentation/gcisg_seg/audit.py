"""Audits of segmentation data: every pair is decoded and checked as in training. No framework is needed."""

from __future__ import annotations

import functools
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from cityscapesscripts.helpers.labels import trainId2label

from gcisg_core.problems import ABSENT_CLASS, AuditResult, DataError, Problem
from gcisg_seg.checks import OFFICIAL, LabelReader, inspect_pair, own_reader, read_own_label
from gcisg_seg.layouts import IGNORED, LAYOUTS, Pair, Suffix, find_pairs, own_layout
from gcisg_seg.own_labels import BY_INDEX, WAYS, Colour, LabelRule, mask_values
from gcisg_seg.splits import gtav_split
from gcisg_suite.audit.images import Look, compare, describe, repeated_names
from gcisg_suite.audit.near import near_duplicates
from gcisg_suite.audit.parallel import check_all
from gcisg_suite.classes import named_classes
from gcisg_suite.progress import shown_if_slow

NO_CLASS = "Correct the list of classes or the labels"
CLASSES = [trainId2label[number].name for number in range(19)]
MASKS_READ = 200  # labels that are read to find out whether two-class labels are masks with the values 0 and 255
MOST_ROWS = 40  # largest number of rows in the table of labels


class _Checked(NamedTuple):
    """The problems of a pair, the summary of its image, the classes in its label, and its pixels as they were read."""

    problems: list[Problem]
    look: Look | None
    shown: list[int]
    pixels: Counter[tuple[str, str, str, int]] | None


def _check(reader: LabelReader, pair: Pair) -> _Checked:
    found = inspect_pair(pair, reader)
    seen = None if found.image is None else describe(pair.image, found.image)
    shown = [] if found.train_ids is None else np.flatnonzero(np.bincount(found.train_ids.ravel())).tolist()
    return _Checked(found.problems, seen, [number for number in shown if number != IGNORED], found.shown)


def _audit(
    splits: Mapping[str, Sequence[Pair]],
    workers: int,
    classes: Sequence[str] = CLASSES,
    reader: LabelReader = OFFICIAL,
    parts: int = 1,
) -> AuditResult:
    """Check the pairs of all splits together; counts the pairs of each split, and the labels with each class."""
    pairs = [pair for found in splits.values() for pair in found]
    checked = check_all(functools.partial(_check, reader), pairs, workers, unit="pair")
    problems = [problem for found in checked for problem in found.problems]
    looks = [found.look for found in checked]
    trained = len(next(iter(splits.values()), ()))  # the first split is the training split
    problems += compare(looks) + repeated_names((pair.image for pair in pairs), parts)
    problems += near_duplicates(looks[:trained], looks[trained:])
    counts: dict[str, int] = {}
    shown = iter(found.shown for found in checked)
    for split, members in splits.items():
        labels = Counter(number for _ in members for number in next(shown))
        counts |= {split: len(members), **{f"{split}/{name}": labels[i] for i, name in enumerate(classes)}}
        if len(labels) == 1 and reader is OFFICIAL:
            what = f"every label of split {split} shows only the class {classes[next(iter(labels))]!r}"
            folder = str(Path(members[0].label).parent)
            problems.append(Problem(folder, what, "Are these the label files of this data set, unconverted?"))
    as_read = _as_read(pairs, [found.pixels or Counter() for found in checked], classes)
    return AuditResult(problems, counts, *as_read, looks)


def _as_read(
    pairs: Sequence[Pair], pixels: Sequence[Counter[tuple[str, str, str, int]]], classes: Sequence[str]
) -> tuple[list[Problem], list[dict[str, str]]]:
    """How the user's own labels were read: a note for each way of reading, and a table of their values and colours."""
    notes = []
    for way, words in WAYS.items():
        if count := sum(any(row[0] == way for row in found) for found in pixels):
            remedy = BY_INDEX if way == "palette" else "The table shows what was found"
            notes.append(Problem(str(Path(pairs[0].label).parent), f"{count} labels are read {words}", remedy))
    found: Counter[tuple[str, str, str, int]] = sum(pixels, Counter())
    total = max(found.total(), 1)
    rows = sorted(found.items(), key=lambda item: (item[0][0], item[0][3], -item[1]))
    names = {IGNORED: "(none)", **dict(enumerate(classes))}
    table = [
        {"index": index, "colour": colour, "class": names[number], "pixels": f"{100 * count / total:.2f} %"}
        for (_, index, colour, number), count in rows
    ]
    return notes, table[:MOST_ROWS] + ([{"index": f"... {len(table)} rows"}] if len(table) > MOST_ROWS else [])


def audit_gtav(root: Path, workers: int = 1) -> AuditResult:
    """Audit GTAV; counts the pairs of the folder and, if there is a `split.mat`, of each split."""
    layout = LAYOUTS["gtav"]
    pairs, faults, unpaired, notes = find_pairs(root / layout.image_dir, root / layout.label_dir, layout)
    problems = faults + unpaired
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
                problems.append(
                    Problem(str(root / "split.mat"), what, "Download the missing parts, or use split='all'")
                )
    return AuditResult(problems + result.problems, result.counts, notes)


def audit_image_labels(
    images: Path,
    labels: Path,
    classes: Sequence[str],
    colours: Sequence[Colour] | None = None,
    suffixes: tuple[Suffix, Suffix] = (None, None),
    workers: int = 1,
    only: set[str] | None = None,
    fixed: bool = False,
    **settings: Any,
) -> AuditResult:
    """Audit the user's own folders, as `gcisg_seg.datasets.ImageLabelDataset` reads them. Each class must occur.

    Two-class masks with the value 255 and without 1 are read with `label_values=(0, 255)`, see
    :func:`find_label_values`.

    Args:
        images, labels: The two folders.
        classes: Names in the order of the label values.
        colours: The colours of the classes, for colour labels.
        suffixes: Suffixes of images and labels, as in `ImageLabelDataset`.
        workers: Number of processes.
        only: Names (without suffix) of the images to use; None for all.
        fixed: Whether the classes are those of an official table, so that some may be absent.
        **settings: Further settings of `gcisg_seg.own_labels.LabelRule`.
    """
    pairs, problems, unpaired, notes = find_pairs(images, labels, own_layout(*suffixes), only)
    if only is not None:
        notes = []  # the list decides which files are used
    if values := find_label_values(pairs, LabelRule(len(classes), tuple(colours or ()) or None, **settings)):
        settings["label_values"] = values
        what = f"its masks have the values 0 and 255: 255 is {classes[1]!r}"
        notes.append(Problem(str(labels), what, f"The data set needs label_values={values}, which new-project writes"))
    result = _audit({"all": pairs}, workers, classes, own_reader(len(classes), colours, **settings), parts=0)
    problems += unpaired + result.problems
    if pairs and not problems:
        expected = LabelRule(len(classes), **settings).values
        ignored = settings.get("ignore_index", IGNORED)
        for value, name in zip(expected, classes, strict=True):
            if not result.counts[f"all/{name}"]:
                meant = "The classes are those of the format; nothing to do" if fixed else "ignore_index says so"
                found = notes if fixed or value == ignored else problems
                what = f"class {name!r} (value {value}) has no pixel"
                found.append(Problem(str(labels), what, NO_CLASS if found is problems else meant, ABSENT_CLASS))
    return replace(result, problems=problems, notes=notes + result.notes)


def find_label_values(pairs: Sequence[Pair], rule: LabelRule) -> tuple[int, ...] | None:
    """(0, 255) if the first labels are masks with these values; None if they hold class numbers or cannot be read."""
    read = shown_if_slow(pairs[:MASKS_READ], "reading labels, to find their values", "label")
    try:
        return mask_values((read_own_label(pair.label) for pair in read), rule)
    except DataError:
        return None  # the audit reports it


def audit_pairs(
    root: Path,
    workers: int = 1,
    images: str = "images",
    labels: str = "labels",
    image_suffix: Suffix = None,
    label_suffix: Suffix = None,
    classes: Sequence[str] | None = None,
    num_classes: int = 19,
    label_values: Sequence[int] | None = None,
    reduce_zero_label: bool = False,
    ignore_index: int = IGNORED,
) -> AuditResult:
    """`audit_image_labels` of two folders below `root`.

    Args:
        root: The folder that contains both.
        workers: Number of processes.
        images, labels: The folders.
        image_suffix, label_suffix: The suffixes of their files.
        classes: Names, or a file that lists them, see `gcisg_suite.classes.named_classes`.
        num_classes: Number of classes, if there are no names.
        label_values, reduce_zero_label, ignore_index: As in `gcisg_seg.own_labels.LabelRule`.
    """
    names, colours = pair_classes(classes, num_classes)
    folders, suffixes = (root / images, root / labels), (image_suffix, label_suffix)
    values = tuple(label_values) if label_values else None
    rule: dict[str, Any] = {
        "label_values": values,
        "reduce_zero_label": reduce_zero_label,
        "ignore_index": ignore_index,
    }
    return audit_image_labels(*folders, names, colours, suffixes, workers, **rule)


def pair_classes(classes: Sequence[str] | None, num_classes: int) -> tuple[list[str], list[Colour] | None]:
    """The given names and colours; without names, `class 0`, `class 1`, ..."""
    return named_classes(classes) if classes else ([f"class {number}" for number in range(num_classes)], None)


def _audit_splits(name: str, root: Path, workers: int = 1) -> AuditResult:
    layout = LAYOUTS[name]
    pairs: dict[str, list[Pair]] = {}
    problems: list[Problem] = []
    notes: list[Problem] = []
    folders = {s: tuple(root / d.format(split=s) for d in (layout.image_dir, layout.label_dir)) for s in layout.splits}
    # It is fine if only one split was downloaded, but not if there is none.
    present = {s: pair for s, pair in folders.items() if any(folder.is_dir() for folder in pair)} or folders
    for split, (image_dir, label_dir) in present.items():
        found = find_pairs(image_dir, label_dir, layout)
        pairs[split] = found.pairs
        problems += found.problems + found.unpaired
        notes += found.notes
    result = _audit(pairs, workers, parts=2 if name == "shift" else 1)  # each video numbers its frames
    return AuditResult(problems + result.problems, result.counts, notes)


# Audits with the arguments `(root, workers)`; they check the existing splits.
audit_acdc = functools.partial(_audit_splits, "acdc")
audit_bdd100k = functools.partial(_audit_splits, "bdd100k")
audit_bdd100k_seg = functools.partial(_audit_splits, "bdd100k_seg")
audit_cityscapes = functools.partial(_audit_splits, "cityscapes")
audit_foggy_cityscapes = functools.partial(_audit_splits, "foggy_cityscapes")
audit_mapillary = functools.partial(_audit_splits, "mapillary")
audit_shift = functools.partial(_audit_splits, "shift")
audit_synthia = functools.partial(_audit_splits, "synthia")
