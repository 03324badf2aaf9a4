"""Limits the size of loaded content: a small file may expand to more than any memory holds."""

from __future__ import annotations

from typing import Any

MOST_VALUES, DEEPEST = 10_000_000, 100


def check_extent(content: Any) -> None:
    """Refuse content far larger than its file: nested lists that are shared, tensors that repeat their storage.

    For example, 40 lists, each of which holds the next one twice, expand to 2^40 values.

    Raises:
        ValueError: the content has too many values, is nested too deep, or contains itself.
    """
    if _count(content, 0, {}) > MOST_VALUES:
        raise ValueError(f"its lists stand for more than {MOST_VALUES:,} values")


def _count(value: Any, depth: int, known: dict[int, float]) -> float:
    """Count the values of a tree, those of a shared part as often as it occurs; `known` is keyed by identity."""
    if not isinstance(value, dict | list | tuple | set):
        return 1 + _repeated(value)
    if id(value) not in known:
        if depth > DEEPEST:
            raise ValueError(f"its lists nest more than {DEEPEST} deep")
        known[id(value)] = float("inf")  # if it is met again before the end, it contains itself
        items = value.values() if isinstance(value, dict) else value
        known[id(value)] = 1 + sum(_count(item, depth + 1, known) for item in items)
    return known[id(value)]


def _repeated(value: Any) -> int:
    """Count the values that a tensor's strides repeat. Does not import torch."""
    if not hasattr(value, "untyped_storage") or str(value.layout) != "torch.strided":
        return 0
    return max(0, value.numel() - value.untyped_storage().nbytes() // value.element_size())
