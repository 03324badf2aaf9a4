"""Which of the pairs are meant: lists of names, and GTAV's official split file."""

from __future__ import annotations

from pathlib import Path

from scipy.io import loadmat

from gcisg_core.problems import DataError
from gcisg_suite.text import read_lines


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
    try:
        numbers = loadmat(path)[f"{split}Ids"].ravel()
    except Exception as error:  # scipy raises many kinds
        what = f"cannot read the numbers {split}Ids ({error})"
        raise DataError(path, what, "Put the official split.mat there, or use split='all'") from error
    return {f"{number:05d}" for number in numbers.tolist()}
