"""Which of the pairs are meant: lists of names, and GTAV's official split file."""

from __future__ import annotations

import math
from pathlib import Path

from scipy.io import loadmat, whosmat

from gcisg_core.problems import DataError, reading
from gcisg_suite.text import read_lines

MOST_NUMBERS = 1_000_000  # GTAV has 24,966 images


def names_in(listed: str) -> set[str] | None:
    """The lines of a list of names without suffix, subfolders with "/" or the backslash; None for no list.

    Raises:
        DataError: the file cannot be read.
    """
    if not listed:
        return None
    return {line.strip().replace("\\", "/") for line in read_lines(listed)} - {""}


def gtav_split(root: Path, split: str) -> set[str]:
    """Names of the images of one split, as `"00001"`.

    Args:
        root: The folder that holds `split.mat`.
        split: `"train"`, `"val"` or `"test"`.

    Raises:
        DataError: The file is absent, unreadable, or lacks the split.
    """
    path = root / "split.mat"
    remedy, field = "Put the official split.mat there, or use split='all'", f"{split}Ids"
    with reading(path, f"MATLAB's file of the numbers {field}", remedy):
        sizes = {name: math.prod(shape) for name, shape, _ in whosmat(path)}
        if not 0 < sizes.get(field, 0) <= MOST_NUMBERS:  # before it is inflated
            raise DataError(path, f"{field} has {sizes.get(field, 0)} numbers, expected 1 to {MOST_NUMBERS}", remedy)
        numbers = loadmat(path, variable_names=[field])[field].ravel().tolist()
        if not all(type(number) in (int, float) and number == int(number) > 0 for number in numbers):
            raise DataError(path, f"{field} is {str(numbers[:3])[:60]}, ..., expected positive whole numbers", remedy)
    return {f"{int(number):05d}" for number in numbers}
