"""Files that are there whole or not at all."""

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

EARLIER = f"*.{'[0-9a-f]' * 32}.tmp"  # what earlier versions wrote


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """A temporary name beside `path`, of its suffix, that takes its place at the end; an error leaves `path` as it is.

    Missing folders are made.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(f".{path.stem}.partial{path.suffix}")
    try:
        with named_errors(path):
            yield partial
            with partial.open("rb") as stream:  # a name must not be on the disk before its content
                os.fsync(stream.fileno())
            partial.replace(path)
    finally:
        partial.unlink(missing_ok=True)


@contextmanager
def named_errors(path: Path) -> Iterator[None]:
    """Says of a failed write which file it was, where Python does not; torch has its own error for a full disk.

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
        cause = error.__context__  # what the file said, which torch covers
        why = cause.strerror if isinstance(cause, OSError) else str(error).splitlines()[0]
        raise OSError(getattr(cause, "errno", errno.EIO), f"cannot be written, {why}", str(path)) from error


def write_text(path: Path, text: str) -> Path:
    """Write a file in UTF-8 by :func:`replacing`; returns its path."""
    with replacing(path) as partial:
        partial.write_text(text, encoding="utf-8")
    return path


def is_file(path: Path) -> bool:
    """Whether the file exists; False for a name that no file can have, where pathlib raises an error."""
    try:
        return path.is_file()
    except (OSError, ValueError):  # longer than the file system allows, with a zero byte
        return False


def exists(path: Path) -> bool:
    """The same for a file or folder."""
    try:
        return path.exists()
    except (OSError, ValueError):
        return False


def replace_folder(new: Path, goal: Path) -> None:
    """Give a folder the place of another, which is removed; a kill leaves a whole folder by the name, or none."""
    old = goal.with_name(f".{goal.name}.partial-old")
    shutil.rmtree(old, ignore_errors=True)
    if goal.exists():
        goal.rename(old)
    new.rename(goal)
    shutil.rmtree(old, ignore_errors=True)


def cut_half_line(path: Path) -> None:
    """Remove a last line without its end, which a killed writer left: the next one's would begin in it."""
    if path.is_file():
        with path.open("rb+") as file:
            file.truncate(file.read().rfind(b"\n") + 1)


def keep_copy(path: Path) -> Path:
    """Rename a file or folder to `<name>_old1`, or the next number that is free; returns its new path."""
    names = (path.with_name(f"{path.stem}_old{number}{path.suffix}") for number in count(1))
    return path.rename(next(name for name in names if not name.exists()))


def remove_partial(folder: Path) -> list[Path]:
    """Remove what killed writers left in a folder and below, those of earlier versions too; returns what was there."""
    patterns = ("*.partial", "*.partial.*", EARLIER)  # a file without suffix has none behind
    found = [path for pattern in patterns for path in folder.rglob(pattern) if path.is_file()]
    for path in found:
        path.unlink()
    return found


def write_json(path: Path, content: Any, indent: int | None = None) -> Path:
    """Write plain values as JSON by :func:`replacing`; NaN and infinities, which JSON has not, become null."""
    return write_text(path, json.dumps(_finite(content), indent=indent, allow_nan=False))


def _finite(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _finite(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(item) for item in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value
