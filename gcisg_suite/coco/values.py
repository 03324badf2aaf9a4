"""Reads single JSON values as other programs write them: numbers as strings, whole numbers as floats."""

from __future__ import annotations

import math
import re
from collections.abc import Iterable
from typing import Any

LARGEST_ID = 2**53  # from here on, tools that read numbers as floats cannot tell neighbouring ids apart
Box = tuple[float, float, float, float]


def identity(value: Any) -> int | str | None:
    """An id in normalised form: 3, 3.0 and "3" are the same; None if it is not an id (a bool, NaN, a list)."""
    if isinstance(value, bool):
        return None
    if isinstance(value, float):
        return int(value) if value.is_integer() else None
    if isinstance(value, str):
        text = value.strip()
        # "007" stays a string: "7" may be the id of another image.
        return int(text) if re.fullmatch(r"-?(0|[1-9][0-9]{0,18})", text) else text or None
    return value if isinstance(value, int) else None


def number(value: Any) -> float | None:
    """A finite number, also from a string; None for anything else."""
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        return None
    try:
        found = float(value)
    except (ValueError, OverflowError):
        return None
    return found if math.isfinite(found) else None


def box_numbers(value: Any) -> Box | None:
    """Four finite numbers from a list or from a string such as "1, 2, 3, 4" or "[1 2 3 4]"; else None."""
    if isinstance(value, str):
        value = value.strip().strip("[]()").replace(",", " ").split()
    if not isinstance(value, list) or len(value) != 4:
        return None
    found = [number(item) for item in value]
    if any(item is None for item in found):
        return None
    x, y, width, height = (item for item in found if item is not None)
    return x, y, width, height


def is_plain_box(value: Any) -> bool:
    """Whether a box is a list of numbers already."""
    return isinstance(value, list) and all(type(item) in (int, float) for item in value)


def clip(box: Box, width: float, height: float) -> Box | None:
    """A half-open box (x1, y1, x2, y2), clipped to its image; None if no area is left."""
    x1, y1, x2, y2 = max(box[0], 0.0), max(box[1], 0.0), min(box[2], float(width)), min(box[3], float(height))
    return (x1, y1, x2, y2) if x2 > x1 and y2 > y1 else None


def shown(value: Any) -> str:
    """A value for a message, shortened to 60 characters."""
    try:
        text = repr(value)
    except RecursionError:
        return f"a deeply nested {type(value).__name__}"
    return text if len(text) <= 60 else f"{text[:57]}..."


def id_numbers(keys: Iterable[int | str]) -> dict[int | str, int]:
    """A whole number for each id: the id itself if all are whole numbers below 2^53, else 1, 2, ... in order."""
    found = list(keys)
    if all(isinstance(key, int) and abs(key) < LARGEST_ID for key in found):
        return {key: int(key) for key in found}
    return {key: position for position, key in enumerate(found, start=1)}
