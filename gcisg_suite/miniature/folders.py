"""Write a data folder once: complete or not at all, and recognised afterwards."""

from __future__ import annotations

import fcntl
import json
import os
import shutil
import tempfile
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from gcisg_core.files import replace_folder
from gcisg_suite.progress import progress

from .parallel import in_parallel

RECIPE_FILE = "recipe.json"


def write_once(goal: Path, recipe: dict[str, Any], write: Callable[[Path], None]) -> bool:
    """Make `goal` unless it is there and complete.

    The files are written to a temporary folder beside the goal, which then takes the goal's name, so a process that is
    killed leaves no half-written data set behind (its temporary folder is removed by the next call). Processes that ask
    for the same goal wait for each other.

    Args:
        goal: the folder to make.
        recipe: what determines the content (version, seed, counts); stored in `recipe.json` with the number of files.
        write: writes all files into the folder it is given.

    Returns:
        True if the folder was written, False if a complete one was reused.

    Raises:
        FileExistsError: the goal holds files but no `recipe.json`, so it is not ours to replace.
        PermissionError: it is missing or incomplete where nothing can be written.
    """
    goal = Path(goal)
    if is_complete(goal, recipe):
        return False  # before the lock, so that a complete folder may be read-only
    there = next(folder for folder in goal.absolute().parents if folder.exists())
    if not os.access(there, os.W_OK):
        raise PermissionError(
            f"{goal} is missing or incomplete, and {there} cannot be written to. Make it where it can, with the same "
            "command, or set GCISG_DATA to another folder"
        )
    goal.parent.mkdir(parents=True, exist_ok=True)
    with _locked(goal.parent / f".{goal.name}.lock"):
        for stale in goal.parent.glob(f".{goal.name}.partial-*"):
            shutil.rmtree(stale, ignore_errors=True)  # workers of a killed process may still write there
        if is_complete(goal, recipe):
            return False
        if goal.exists() and not (goal / RECIPE_FILE).is_file() and any(goal.iterdir()):
            raise FileExistsError(
                f"{goal} holds files that this program did not write; name another folder or remove it"
            )
        partial = Path(tempfile.mkdtemp(prefix=f".{goal.name}.partial-", dir=goal.parent))
        try:
            partial.chmod(0o755)  # mkdtemp's 0700 would keep other users out
            write(partial)
            (partial / RECIPE_FILE).write_text(json.dumps({**recipe, "files": _count_files(partial)}, indent=1) + "\n")
            replace_folder(partial, goal)
        finally:
            shutil.rmtree(partial, ignore_errors=True)
        return True


def is_complete(goal: Path, recipe: dict[str, Any]) -> bool:
    """Whether a folder was made by this recipe and still holds as many files as then."""
    try:
        stored = json.loads((Path(goal) / RECIPE_FILE).read_text())
    except (OSError, ValueError):
        return False
    return stored == {**recipe, "files": _count_files(Path(goal))}


def write_class_folders(folder: Path, names: tuple[str, ...], pictures: Iterator[tuple[int, np.ndarray]]) -> None:
    """VisDA-17's layout: `<class>/<number>.png` and `image_list.txt` with lines `relative/path label`.

    Args:
        folder: where to; exists.
        names: class names, the position is the label.
        pictures: pairs of label and (H, W, 3) uint8 image.
    """
    for name in names:
        (folder / name).mkdir(parents=True)
    (folder / "image_list.txt").write_text(_write_pictures(folder, names, pictures))


def write_by_class(
    folder: Path, names: tuple[str, ...], draw: Callable[[int], Iterable[np.ndarray]], title: str | None
) -> None:
    """The same, class by class; a class has random numbers of its own, so the cores share the work.

    Args:
        folder: where to; exists.
        names: class names, the position is the label.
        draw: the pictures of a label; can be pickled.
        title: what the progress is called; None for none.
    """
    for name in names:
        (folder / name).mkdir(parents=True)
    written = in_parallel(partial(_write_class, folder, names, draw), range(len(names)))
    lines = progress(written, title, "class", len(names)) if title else written
    (folder / "image_list.txt").write_text("".join(lines))


def _write_class(folder: Path, names: tuple[str, ...], draw: Callable[[int], Iterable[np.ndarray]], label: int) -> str:
    return _write_pictures(folder, names, ((label, picture) for picture in draw(label)))


def _write_pictures(folder: Path, names: tuple[str, ...], pictures: Iterable[tuple[int, np.ndarray]]) -> str:
    """Returns the pictures' lines of `image_list.txt`."""
    numbers = [0] * len(names)
    lines = []
    for label, picture in pictures:
        relative = f"{names[label]}/{numbers[label]:05d}.png"
        numbers[label] += 1
        # Level 1: the pictures are small and noisy, more effort saves 3 % of the bytes and costs half of the time.
        Image.fromarray(picture).save(folder / relative, compress_level=1)
        lines.append(f"{relative} {label}\n")
    return "".join(lines)


def _count_files(folder: Path) -> int:
    return sum(1 for path in folder.rglob("*") if path.is_file() and path != folder / RECIPE_FILE)


@contextmanager
def _locked(path: Path) -> Iterator[None]:
    with path.open("w") as handle:
        fcntl.flock(handle, fcntl.LOCK_EX)
        yield  # closing the file releases the lock
