"""Selects pairs: by lists of names, and by GTAV's official split file."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

from gcisg_core.problems import DataError, reading
from gcisg_suite.text import read_lines

MOST_NUMBERS, SECONDS = 1_000_000, 60  # GTAV has 24,966 images
# Runs in a separate process, as scipy's reader crashes on some damaged files. Sizes are checked before decompression.
READ = """
import json, math, sys
from scipy.io import loadmat, whosmat
path, field, most = sys.argv[1:]
size = {name: math.prod(shape) for name, shape, _ in whosmat(path)}.get(field, 0)
if not 0 < size <= int(most):
    sys.exit(f"{field} has {size} numbers, expected 1 to {most}")
print(json.dumps(loadmat(path, variable_names=[field])[field].ravel().tolist()))
"""


def names_in(listed: str) -> set[str] | None:
    """The names (without suffix) in a list file, with "/" or a backslash for subfolders; None without a list.

    Raises:
        DataError: the file cannot be read.
    """
    if not listed:
        return None
    return {line.strip().replace("\\", "/") for line in read_lines(listed)} - {""}


def gtav_split(root: Path, split: str) -> set[str]:
    """The names of the images in a split, such as `"00001"`.

    Args:
        root: The folder that contains `split.mat`.
        split: `"train"`, `"val"` or `"test"`.

    Raises:
        DataError: the file is missing, unreadable, or lacks the split.
    """
    path = root / "split.mat"
    remedy, field = "Put the official split.mat there, or use split='all'", f"{split}Ids"
    with reading(path, f"MATLAB's file of the numbers {field}", remedy):
        command = [sys.executable, "-c", READ, str(path), field, str(MOST_NUMBERS)]
        done = subprocess.run(command, capture_output=True, text=True, timeout=SECONDS, check=False)
        if done.returncode:
            said = done.stderr.strip().rpartition("\n")[2]
            raise ValueError(said if done.returncode > 0 and said else f"reading it ended with {done.returncode}")
        numbers = json.loads(done.stdout)
        if not all(number == int(number) > 0 for number in numbers):
            raise DataError(path, f"{field} is {str(numbers[:3])[:60]}, ..., expected positive whole numbers", remedy)
    return {f"{int(number):05d}" for number in numbers}
