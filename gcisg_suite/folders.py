"""The one listing of folders. It leaves out the clutter of operating systems and notebooks, and says so."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path, PurePath
from typing import NamedTuple

from gcisg_core.problems import Problem
from gcisg_suite.progress import shown_if_slow

CLUTTER = frozenset(("__MACOSX", "@eaDir", "$RECYCLE.BIN"))


class Listing(NamedTuple):
    """Names of files below a folder, with "/", sorted; and those that are hidden or clutter."""

    files: list[str]
    hidden: list[str]


def is_hidden(name: str | Path) -> bool:
    """Whether the name shows that a file or folder is not data: `.ipynb_checkpoints`, `._x.png`, `__MACOSX`."""
    return any(part.startswith(".") or part in CLUTTER for part in PurePath(name).parts)


def list_files(root: Path) -> Listing:
    """All files below a folder, also behind links; a link that leads back above itself is not followed."""
    found = []
    for folder, folders, names in shown_if_slow(os.walk(root, followlinks=True), f"listing {root}", "folder"):
        folders[:] = [name for name in folders if not _leads_back(Path(folder, name), root)]
        inner = Path(folder).relative_to(root)
        found += [(inner / name).as_posix() for name in names]
    hidden = {name for name in found if is_hidden(name)}
    return Listing(sorted(set(found) - hidden), sorted(hidden))


def _leads_back(path: Path, root: Path) -> bool:
    """Whether a folder is a link to one of its parents, or to a folder above the root."""
    if not path.is_symlink():
        return False
    goal, entered = path.resolve(), [path.parent, *path.parent.parents][: len(path.parent.relative_to(root).parts) + 1]
    return goal in root.resolve().parents or goal in [folder.resolve() for folder in entered]


def left_out(root: str | Path, kinds: Mapping[str, Sequence[str]]) -> list[Problem]:
    """One line for all unused files below a folder; nothing if all are used.

    Args:
        root: The folder.
        kinds: Reason -> names of the files.
    """
    counted = [f"{len(names)} {kind} (such as {names[0]})" for kind, names in kinds.items() if names]
    total = sum(map(len, kinds.values()))
    if not counted:
        return []
    what = f"left out {total} files: {', '.join(counted)}"
    return [Problem(str(root), what, "Nothing to do if they are not data", "left out files", total)]
