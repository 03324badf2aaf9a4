"""Audits of classification data: VisDA-17, and your own folders with one folder for each class."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from gcisg_cls.datasets import IMAGE_LIST, VISDA17_CLASSES, ClassFolderDataset, split_line
from gcisg_core.problems import ABSENT_CLASS, AuditResult, DataError, Problem
from gcisg_suite.audit.images import Look, compare, flat_problem, look
from gcisg_suite.audit.near import near_duplicates
from gcisg_suite.audit.parallel import check_all
from gcisg_suite.classes import named_classes
from gcisg_suite.folders import is_hidden
from gcisg_suite.formats.forms import PARTS as ALL_PARTS
from gcisg_suite.images import SUFFIXES
from gcisg_suite.text import read_lines

PARTS = ("train", "validation", "test")  # of VisDA-17
DATA_SET_PARTS = ALL_PARTS["all"]


class _Collected(ClassFolderDataset):
    """Runs the data set's own checks and collects all findings instead of stopping at the first."""

    def __init__(self, root: Path, classes: Sequence[str] | None) -> None:
        self.problems: list[Problem] = []
        super().__init__(str(root), {"type": "EvalView", "size": 8}, classes)

    def _report(self, error: DataError) -> None:
        self.problems.append(error.problem)

    def _log(self, text: str, level: int = 0) -> None:
        pass

    def _report_absent(self, error: DataError) -> None:
        self.problems.append(replace(error.problem, kind=ABSENT_CLASS))


def audit_visda17(root: Path, workers: int = 1) -> AuditResult:
    """Audit the parts of VisDA-17 that are there: lists, labels, files, every image; counts images of each class."""
    parts = [root / part for part in PARTS if (root / part).is_dir()]
    # One of the classes is called train: a folder that holds others too is a part itself.
    if not parts or sum((root / name).is_dir() for name in VISDA17_CLASSES) > 1:
        remedy = "Point the data root at the folder that holds train and validation"
        return AuditResult([Problem(str(root), f"it does not hold the folders {', '.join(PARTS)}", remedy)], {})
    return _audit(parts, VISDA17_CLASSES, workers)


def audit_folders(root: Path, workers: int = 1, classes: Sequence[str] | None = None) -> AuditResult:
    """Audit a folder that holds one folder for each class.

    Args:
        root: The folder.
        workers: Processes to use.
        classes: Their names, or one file with them (default: those of the folders or of the list).
    """
    return _audit([root], named_classes(classes)[0] if classes else None, workers)


def _audit(parts: Sequence[Path], classes: Sequence[str] | None, workers: int) -> AuditResult:
    problems: list[Problem] = []
    notes: list[Problem] = []
    counts: dict[str, int] = {}
    names: list[str] = []
    paths: list[Path] = []
    for part in parts:
        try:
            dataset = _Collected(part, classes)
        except DataError as error:  # without a readable list there is no data set
            problems.append(error.problem)
            continue
        found = Counter(dataset.classes[label] for _, label in dataset.samples)
        counts |= {part.name: len(dataset.samples), **{f"{part.name}/{name}": found[name] for name in dataset.classes}}
        names = [*dataset.classes]
        problems += dataset.problems + _list_problems(part)
        notes += dataset.left_out
        if len(dataset.classes) == 1:
            what = f"every image has the class {dataset.classes[0]!r}"
            problems.append(Problem(str(part), what, "Give two or more class folders; is this one of them itself?"))
        if names and {name.lower() for name in names} <= {*DATA_SET_PARTS}:
            what = f"its folders {', '.join(names)} are parts of a data set by their names, expected classes"
            problems.append(Problem(str(part), what, f"Name one of them instead: {part / names[0]}"))
        paths += [part / name for name, _ in dataset.samples]
    unique = list(dict.fromkeys(paths))
    checked = check_all(_check, unique, workers)
    problems += [problem for found, _ in checked for problem in found]
    looks = [seen for _, seen in checked]
    problems += compare(looks)
    if parts[0].name == PARTS[0]:
        trained = sum(parts[0] in path.parents for path in unique)  # they come first
        problems += near_duplicates(looks[:trained], looks[trained:])
    return AuditResult(problems, counts, notes, looks=looks, classes=names)


def _lines(listed: Path) -> list[str]:
    """None if the list cannot be read, which the data set reports."""
    try:
        return read_lines(listed)
    except DataError:
        return []


def _list_problems(part: Path) -> list[Problem]:
    """Images that are listed twice, or that are in a listed folder but not in the list."""
    listed = part / IMAGE_LIST
    if not listed.is_file():
        return []
    lines = Counter(split_line(line)[0] for line in _lines(listed))
    repeated = [name for name, times in lines.items() if name and times > 1]
    problems = [Problem(str(listed), f"{name!r} is listed twice", "Remove a line") for name in repeated]
    for folder in sorted({(part / name).parent for name in lines if "/" in name}):
        inside = folder.iterdir() if folder.is_dir() else ()
        shown = (path for path in inside if path.suffix.lower() in SUFFIXES and not is_hidden(path.name))
        files = {path.relative_to(part).as_posix() for path in shown}
        if left := sorted(files - lines.keys()):
            what = f"{len(left)} of {len(files)} images are not in {listed.name}, such as {left[0]}"
            problems.append(Problem(str(folder), what, "Add their lines, or remove the files; training ignores them"))
    return problems


def _check(path: Path) -> tuple[list[Problem], Look | None]:
    try:
        seen = look(path)
    except DataError as error:
        return [error.problem], None
    return flat_problem(seen), seen
