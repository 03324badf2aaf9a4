"""Atomic file operations: a file is written completely or not at all."""

from __future__ import annotations

import errno
import json
import math
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import count
from pathlib import Path
from typing import Any

EARLIER = f"*.{'[0-9a-f]' * 32}.tmp"  # temporary names of earlier versions


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """Yield a temporary path, with the suffix of `path`, that is renamed to `path` at the end, but not after an error.

    Missing folders are created.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(f".{path.stem}.partial{path.suffix}")
    try:
        with named_errors(path):
            yield partial
            with partial.open("rb") as stream:  # the content must be on the disk before its name
                os.fsync(stream.fileno())
            partial.replace(path)
    finally:
        partial.unlink(missing_ok=True)


@contextmanager
def named_errors(path: Path) -> Iterator[None]:
    """Add the file's name to the error of a failed write if it is missing; torch has its own error for a full disk.

    Raises:
        OSError: with the file's name.
    """
    try:
        yield
    except OSError as error:
        if error.filename is not None or error.errno is None:
            raise
        raise OSError(error.errno, error.strerror, str(path)) from error
    except RuntimeError as error:
        if "inline_container" not in str(error) and "PytorchStreamWriter" not in str(error):
            raise
        cause = error.__context__  # the file's error, which torch hides
        why = cause.strerror if isinstance(cause, OSError) else str(error).splitlines()[0]
        raise OSError(getattr(cause, "errno", errno.EIO), f"cannot be written, {why}", str(path)) from error


def write_text(path: Path, text: str) -> Path:
    """Write a file in UTF-8 by :func:`replacing`; returns its path."""
    with replacing(path) as partial:
        partial.write_text(text, encoding="utf-8")
    return path


def is_file(path: Path) -> bool:
    """Whether the file exists; False for an impossible file name, for which pathlib raises an error."""
    try:
        return path.is_file()
    except (OSError, ValueError):  # too long for the file system, or with a zero byte
        return False


def exists(path: Path) -> bool:
    """The same for a file or folder."""
    try:
        return path.exists()
    except (OSError, ValueError):
        return False


def replace_folder(new: Path, goal: Path) -> None:
    """Replace a folder by another one. If the process is killed, the name has a complete folder or none."""
    old = goal.with_name(f".{goal.name}.partial-old")
    shutil.rmtree(old, ignore_errors=True)
    if goal.exists():
        goal.rename(old)
    new.rename(goal)
    shutil.rmtree(old, ignore_errors=True)


def cut_half_line(path: Path) -> None:
    """Remove an incomplete last line that a killed writer left, so that the next line does not continue it."""
    if path.is_file():
        with path.open("rb+") as file:
            file.truncate(file.read().rfind(b"\n") + 1)


def keep_copy(path: Path) -> Path:
    """Rename a file or folder to `<name>_old1`, or with the next free number; return its new path."""
    names = (path.with_name(f"{path.stem}_old{number}{path.suffix}") for number in count(1))
    return path.rename(next(name for name in names if not name.exists()))


def remove_partial(folder: Path) -> list[Path]:
    """Remove what killed writers, also of earlier versions, left in a folder tree; return the removed paths."""
    patterns = ("*.partial", "*.partial.*", EARLIER)  # a file without suffix has none behind
    found = [path for pattern in patterns for path in folder.rglob(pattern) if path.is_file()]
    for path in found:
        path.unlink()
    return found


def write_json(path: Path, content: Any, indent: int | None = None) -> Path:
    """Write plain values as JSON by :func:`replacing`; NaN and infinities, which JSON lacks, become null."""
    return write_text(path, json.dumps(_finite(content), indent=indent, allow_nan=False))


def _finite(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _finite(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(item) for item in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value
