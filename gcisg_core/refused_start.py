"""Undoes what a start wrote to the run's folder if the start is refused."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

from gcisg_core.files import replacing

TEXTS = ("identity.json", "*.py", "*.yaml")  # a run's identity and configs; the frameworks write each start's config
_before: dict[Path, set[str] | None] = {}  # folder -> the names in it before this process's start; None: it was missing
_texts: dict[Path, dict[Path, bytes]] = {}  # folder of a run that resumes -> the contents of its texts before


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


def note_texts(folder: Path) -> None:
    """Record the identity and the configs of a run that is to resume."""
    _texts[folder.resolve()] = {path: path.read_bytes() for path in _texts_in(folder.resolve())}


def accept_start(folder: Path) -> None:
    """The run has resumed: what was written stays."""
    _texts.pop(folder.resolve(), None)


def restore_texts() -> None:
    """Restore what :func:`note_texts` recorded, and remove other configs, of each run that has not resumed."""
    while _texts:
        folder, texts = _texts.popitem()
        for path in [*_texts_in(folder)]:
            if path not in texts:
                path.unlink()
            elif path.read_bytes() != texts[path]:
                with replacing(path) as partial:
                    partial.write_bytes(texts[path])


def _texts_in(folder: Path) -> Iterator[Path]:
    return (path for pattern in TEXTS for path in folder.glob(pattern) if path.is_file())
