"""How much a file's content stands for: a small file may claim more than any memory holds."""

from __future__ import annotations

from typing import Any

MOST_VALUES, DEEPEST = 10_000_000, 100


def check_extent(content: Any) -> None:
    """Refuse what is far larger than its file: lists within lists that are shared, tensors that repeat their storage.

    A list that holds one list twice, which holds another twice, and so on, stands for 2^40 values after 40 lists.

    Raises:
        ValueError: it stands for too many values, nests too deep, or holds itself.
    """
    if _count(content, 0, {}) > MOST_VALUES:
        raise ValueError(f"its lists stand for more than {MOST_VALUES:,} values")


def _count(value: Any, depth: int, known: dict[int, float]) -> float:
    """Values that a tree holds, those of a shared part as often as it occurs; `known` by identity."""
    if not isinstance(value, dict | list | tuple | set):
        return 1 + _repeated(value)
    if id(value) not in known:
        if depth > DEEPEST:
            raise ValueError(f"its lists nest more than {DEEPEST} deep")
        known[id(value)] = float("inf")  # where it is met before its end, it holds itself
        items = value.values() if isinstance(value, dict) else value
        known[id(value)] = 1 + sum(_count(item, depth + 1, known) for item in items)
    return known[id(value)]


def _repeated(value: Any) -> int:
    """Values of a tensor, which has strides, beyond those that are stored. Without an import of torch."""
    if not hasattr(value, "untyped_storage") or str(value.layout) != "torch.strided":
        return 0
    return max(0, value.numel() - value.untyped_storage().nbytes() // value.element_size())
