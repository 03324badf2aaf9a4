"""Exported checkpoints: only the task model, with the hash of the file in its name."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from gcisg_core.files import replacing, write_text
from gcisg_core.problems import DataError

METHOD_PREFIX = "regularizer."  # of the tensors that a method adds to the task model
HASH_LENGTH = 8
DATE = re.compile(r"(19|20)\d\d(0[1-9]|1[0-2])([0-2]\d|3[01])")


class Export(NamedTuple):
    """A trained model in the form that the plain framework needs.

    Attributes:
        state: The task model's tensors under the plain framework's names.
        key: The key of the state dict in the framework's checkpoints; empty: the file is the state dict.
        config: The plain framework's config as text, with ``{checkpoint}`` for the file's name.
        suffix: Of the config's file.
        meta: Class names, palette, ...: plain values.
        network: Normalised images (B, 3, H, W) -> scores, for formats that hold the computation; None where the
            framework's model is no such function.
        size: H and W for these formats.
    """

    state: dict[str, Tensor]
    key: str
    config: str
    suffix: str
    meta: dict[str, Any]
    network: nn.Module | None = None
    size: tuple[int, int] = (224, 224)


def without_method(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Return a state dict without the tensors that a method adds to the task model."""
    return {name: value.detach().clone() for name, value in state.items() if not name.startswith(METHOD_PREFIX)}


def save(exported: Export, path: Path) -> None:
    """Write the checkpoint in torch's format, in the form that the plain framework expects."""
    torch.save({exported.key: exported.state, "meta": exported.meta} if exported.key else exported.state, path)


def write_export(
    exported: Export,
    folder: Path,
    stem: str,
    extension: str = "pth",
    writer: Callable[[Export, Path], None] = save,
) -> Path:
    """Write ``<stem>-<hash>.<extension>``, its config and its metadata (``.json``); return the checkpoint's path.

    The hash is the first eight digits of the file's SHA-256. The checkpoint is renamed last: if it exists, all do.
    """

    def write_others(path: Path) -> None:
        for suffix, text in ((exported.suffix, exported.config), (".json", json.dumps(exported.meta, indent=1) + "\n")):
            write_text(path.with_suffix(suffix), text.replace("{checkpoint}", path.name))

    return write_hashed(folder / f"{stem}.{extension}", partial(writer, exported), write_others)


def write_hashed(path: Path, write: Callable[[Path], None], before: Callable[[Path], None] | None = None) -> Path:
    """Write `<stem>-<hash><suffix>` beside ``path``, whole or not at all; returns its path.

    Args:
        path: The name without the hash.
        write: Writes the content to a path.
        before: Called with the file's final name, just before the file is renamed.
    """
    unnamed = path.with_name(f".{path.stem}.partial.unnamed{path.suffix}")
    try:
        with replacing(unnamed) as aside:
            write(aside)
        goal = path.with_name(f"{path.stem}-{file_hash(unnamed)}{path.suffix}")
        if before is not None:
            before(goal)
        return unnamed.replace(goal)
    finally:
        unnamed.unlink(missing_ok=True)


def file_hash(path: Path) -> str:
    """The first eight hexadecimal digits of a file's SHA-256."""
    digest = hashlib.sha256()
    with path.open("rb") as stream:
        while block := stream.read(1 << 20):
            digest.update(block)
    return digest.hexdigest()[:HASH_LENGTH]


def verify_hash(path: Path) -> None:
    """Compare a file with the hash in its name, if there is one; a date (``-20240131.pth``) is not a hash.

    Raises:
        DataError: the file was altered or is incomplete.
    """
    named = re.search(rf"-([0-9a-f]{{{HASH_LENGTH}}})\.[a-z0-9]+$", path.name)
    if named and not DATE.fullmatch(named[1]) and file_hash(path) != named[1]:
        what = f"its SHA-256 begins with {file_hash(path)}, but its name says {named[1]}: altered or incomplete"
        raise DataError(path, what, "Fetch it again; if you changed it yourself, rename it")
