"""Writes the folders of OUTPUT/data: a conversion replaces an earlier one, unless its files were changed since."""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from gcisg_core.files import keep_copy, replace_folder, write_json
from gcisg_suite.folders import list_files
from gcisg_suite.progress import shown_if_slow

RECORD = ".written.json"  # in each folder: file name -> SHA-256


@contextmanager
def converting(goal: Path, force: bool) -> Iterator[Path]:
    """A temporary folder that replaces `goal` at the end; after an error, `goal` is unchanged.

    Args:
        goal: The folder to write.
        force: Replace `goal` even if files in it were changed or added; a copy of the folder is kept.

    Raises:
        ValueError: files were changed or added, and `force` is not set.
    """
    changed = changed_files(goal)
    if changed and not force:
        what = f"{goal}: {len(changed)} files were changed or added since it was written, such as {changed[0]}"
        raise ValueError(f"{what}. Name another --output, or give --force, which keeps a copy of the folder")
    partial = goal.with_name(f".{goal.name}.partial")
    shutil.rmtree(partial, ignore_errors=True)
    partial.mkdir(parents=True)
    try:
        yield partial
        names = shown_if_slow(list_files(partial).files, "recording what was written", "file")
        write_json(partial / RECORD, {name: _digest(partial / name) for name in names})
        if changed:
            print(f"kept the old {goal} as {keep_copy(goal)}")
        replace_folder(partial, goal)
    finally:
        shutil.rmtree(partial, ignore_errors=True)


def changed_files(folder: Path) -> list[str]:
    """The files in a folder that changed since :func:`converting` wrote it; hidden files are ignored."""
    try:
        written = json.loads((folder / RECORD).read_bytes())
    except (OSError, ValueError):
        written = {}
    names = shown_if_slow(list_files(folder).files, f"looking for changes in {folder}", "file")
    return [name for name in names if written.get(name) != _digest(folder / name)]


def _digest(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()
