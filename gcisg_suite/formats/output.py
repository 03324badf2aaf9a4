"""The folders of OUTPUT/data: a conversion replaces what an earlier one wrote, and nothing that was changed since."""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from gcisg_core.files import keep_copy, replace_folder, write_json
from gcisg_suite.folders import list_files

RECORD = ".written.json"  # in each folder: the name of a file -> its SHA-256


@contextmanager
def converting(goal: Path, force: bool) -> Iterator[Path]:
    """A new folder beside `goal` that takes its place at the end; an error leaves `goal` as it is.

    Args:
        goal: The folder.
        force: Whether it is replaced where files in it were changed or added; a copy of all is kept then.

    Raises:
        ValueError: files were changed or added, without `force`.
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
        write_json(partial / RECORD, {name: _digest(partial / name) for name in list_files(partial).files})
        if changed:
            print(f"kept: {keep_copy(goal)}, what {goal} was")
        replace_folder(partial, goal)
    finally:
        shutil.rmtree(partial, ignore_errors=True)


def changed_files(folder: Path) -> list[str]:
    """The files in a folder that are not as :func:`converting` left them; hidden ones do not count."""
    try:
        written = json.loads((folder / RECORD).read_bytes())
    except (OSError, ValueError):
        written = {}
    return [name for name in list_files(folder).files if written.get(name) != _digest(folder / name)]


def _digest(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()
