"""Removes what a start created in the run's folder if the start is refused."""

from __future__ import annotations

import shutil
from pathlib import Path

_before: dict[Path, set[str] | None] = {}  # folder -> the names in it before this process's start; None: it was missing


def note_start(folder: Path) -> None:
    """Record the contents of a folder, or that it is missing."""
    _before[folder.resolve()] = {path.name for path in folder.iterdir()} if folder.is_dir() else None


def undo_start(folder: Path) -> None:
    """Remove what was added to a folder after :func:`note_start`, and the folder if it was missing."""
    if folder.resolve() not in _before:
        return
    names = _before.pop(folder.resolve())
    for path in [folder] if names is None else [path for path in folder.iterdir() if path.name not in names]:
        if path.is_dir() and not path.is_symlink():
            shutil.rmtree(path, ignore_errors=True)
        else:
            path.unlink(missing_ok=True)
