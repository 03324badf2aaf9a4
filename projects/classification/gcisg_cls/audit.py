"""Audits of classification data: VisDA-17 and folders of one's own, a class a folder."""

from __future__ import annotations

import functools
import hashlib
from collections import Counter
from collections.abc import Iterable, Sequence
from concurrent.futures import ProcessPoolExecutor
from contextlib import nullcontext
from pathlib import Path

from PIL import Image
from tqdm import tqdm

from gcisg_cls.datasets import IMAGE_LIST, VISDA17_CLASSES, VisDA17Dataset
from gcisg_core.problems import AuditResult, DataError, Problem

PARTS = ("train", "validation", "test")  # of VisDA-17


class _Collected(VisDA17Dataset):
    """The data set's own checks, all of their findings instead of the first."""

    def __init__(self, root: Path, classes: Sequence[str] | None) -> None:
        self.problems: list[Problem] = []
        super().__init__(str(root), {"type": "EvalView", "size": 8}, classes)

    def _report(self, error: DataError) -> None:
        self.problems.append(error.problem)


def audit_visda17(root: Path, workers: int = 1) -> AuditResult:
    """Audit the parts of VisDA-17 that are there: lists, labels, files, every image; counts images of each class."""
    parts = [root / part for part in PARTS if (root / part).is_dir()]
    if not parts:
        remedy = "Point the data root at the folder that holds train and validation"
        return AuditResult([Problem(str(root), f"none of the folders {', '.join(PARTS)}", remedy)], {})
    return _merged(_audit(part, VISDA17_CLASSES, workers) for part in parts)


def audit_folders(root: Path, workers: int = 1) -> AuditResult:
    """Audit a folder with a folder a class; the classes are those of the folders, or of the list if there is one."""
    return _audit(root, None, workers)


def _audit(root: Path, classes: Sequence[str] | None, workers: int) -> AuditResult:
    dataset = _Collected(root, classes)
    counts = Counter(dataset.classes[label] for _, label in dataset.samples)
    problems = dataset.problems + _image_problems([root / name for name, _ in dataset.samples], workers)
    if (root / IMAGE_LIST).is_file():
        repeated = [name for name, times in Counter(name for name, _ in dataset.samples).items() if times > 1]
        problems += [Problem(str(root / IMAGE_LIST), f"{name!r} is listed twice", "Remove a line") for name in repeated]
    named = {f"{root.name}/{name}": counts[name] for name in dataset.classes}
    return AuditResult(problems, {root.name: len(dataset.samples), **named})


def _image_problems(paths: list[Path], workers: int) -> list[Problem]:
    """Unreadable images, those of one colour, and those that are another one's copy."""
    progress = functools.partial(tqdm, total=len(paths), unit="image", disable=None)  # silent when not a terminal
    with ProcessPoolExecutor(workers) if workers > 1 else nullcontext() as pool:
        checked = list(progress(pool.map(_check, paths, chunksize=64) if pool else map(_check, paths)))
    problems: list[Problem] = []
    first: dict[str, Path] = {}
    for path, (problem, digest) in zip(paths, checked, strict=True):
        if problem:
            problems.append(problem)
        elif first.setdefault(digest, path) != path:
            problems.append(Problem(str(path), f"the same file as {first[digest]}", "Remove one of the two"))
    return problems


def _check(path: Path) -> tuple[Problem | None, str]:
    try:
        with Image.open(path) as image:
            low_high = image.convert("RGB").getextrema()
    except OSError as error:
        return Problem(str(path), f"not a readable image ({error})", "Copy or download it again"), ""
    if all(low == high for low, high in low_high):
        return Problem(str(path), "every pixel has the same colour", "Render it again or remove it"), ""
    return None, hashlib.sha256(path.read_bytes()).hexdigest()


def _merged(results: Iterable[AuditResult]) -> AuditResult:
    problems: list[Problem] = []
    counts: dict[str, int] = {}
    for result in results:
        problems += result.problems
        counts |= result.counts
    return AuditResult(problems, counts)
