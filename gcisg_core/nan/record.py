"""Records of training steps: files of plain values and tensors, which run no code when read."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from gcisg_core.extent import check_extent
from gcisg_core.files import replacing
from gcisg_core.problems import DataError, reading
from gcisg_core.safe_load import allowing, find_damage

KIND = "__kind__"  # marks a dictionary that stands for an object of a framework


def plain(value: Any, pack: Callable[[Any], Any]) -> Any:
    """Convert a nested value to containers, numbers, strings and tensors on the CPU.

    Args:
        value: Any value; numpy's arrays and numbers become lists and numbers.
        pack: Converts every other object to a dictionary that contains :data:`KIND`, or to a string.
    """
    if value is None or type(value) in (bool, int, float, str):
        return value
    if isinstance(value, Tensor):
        return value.detach().cpu()
    if isinstance(value, Mapping):
        return {key: plain(inner, pack) for key, inner in value.items()}
    if isinstance(value, list | tuple):
        return type(value)(plain(inner, pack) for inner in value) if type(value) in (list, tuple) else list(value)
    if hasattr(value, "tolist"):
        return value.tolist()
    return plain(pack(value), pack)


def restore(value: Any, unpack: Callable[[dict[str, Any]], Any], device: torch.device | str = "cpu") -> Any:
    """The inverse of :func:`plain`, with the tensors on a device; ``unpack`` builds the objects."""
    if isinstance(value, Tensor):
        return value.to(device)
    if isinstance(value, dict):
        inner = {key: restore(item, unpack, device) for key, item in value.items()}
        return unpack(inner) if KIND in inner else inner
    if isinstance(value, list | tuple):
        return type(value)(restore(item, unpack, device) for item in value)
    return value


def statistics(values: Tensor) -> dict[str, Any]:
    """Shape, the number of values that are not finite, and minimum, mean, maximum and spread of the finite ones."""
    finite = values.detach()[values.detach().isfinite()].double()
    result: dict[str, Any] = {"shape": list(values.shape), "nonfinite": values.numel() - finite.numel()}
    if finite.numel():
        numbers = (finite.min(), finite.mean(), finite.max(), finite.std(correction=0))
        result |= dict(zip(("min", "mean", "max", "std"), torch.stack(numbers).tolist(), strict=True))
    return result


def save(record: Mapping[str, Any], path: Path) -> None:
    """Write a record atomically."""
    with replacing(path) as partial:
        torch.save(dict(record), partial)


def load(path: Path, version: int) -> dict[str, Any]:
    """Read a record of this version.

    Raises:
        DataError: there is no such file, or it is damaged, not a record, or of another version.
    """
    remedy = "Name a nonfinite_*.pth file of a run"
    with reading(path, "a record of a step", remedy):
        if damage := find_damage(path):
            raise DataError(path, damage, remedy)
        with allowing([]):
            record = torch.load(path, map_location="cpu", weights_only=True)
        check_extent(record)
    if not isinstance(record, dict) or record.get("version") != version:
        found = record.get("version") if isinstance(record, dict) else type(record).__name__
        raise DataError(path, f"version {found}, expected a record of version {version}", "Record the step again")
    return record
