"""Masks of annotations: polygons of 3 or more points, or run lengths (RLE)."""

from __future__ import annotations

import math
from typing import Any

from .values import number

LONGEST = 60  # bits of a number; a text that never ends one would take hours


def usable_mask(segmentation: Any, height: int, width: int) -> list[list[float]] | dict[str, Any] | None:
    """The polygons or run lengths that can be drawn; None where nothing can.

    Args:
        segmentation: A list of polygons [x1, y1, x2, y2, ...], a single one, or {"size": [height, width], "counts"}.
        height, width: Of the image.
    """
    if isinstance(segmentation, dict):
        return segmentation if _is_rle(segmentation, height, width) else None
    if not isinstance(segmentation, list):
        return None
    polygons = segmentation if any(isinstance(item, list) for item in segmentation) else [segmentation]
    found = (_numbers(polygon) for polygon in polygons if isinstance(polygon, list))
    # pycocotools takes memory for each pixel of an outline, so one that leaves its image by far is of no use.
    far = 2 * max(height, width) + 1000
    return [p for p in found if len(p) >= 6 and len(p) % 2 == 0 and -far <= min(p) and max(p) <= far] or None


def _numbers(polygon: list[Any]) -> list[float]:
    """The finite numbers of a polygon; none where one of its values is something else."""
    # Nearly all are plain floats: a large file has tens of millions.
    if {*map(type, polygon)} == {float} and all(map(math.isfinite, polygon)):
        return polygon
    found = [number(value) for value in polygon]
    return [value for value in found if value is not None] if None not in found else []


def _is_rle(mask: dict[str, Any], height: int, width: int) -> bool:
    """Whether run lengths fill the image exactly; pycocotools reads them without a check of its own."""
    counts = mask.get("counts")
    if mask.get("size") != [height, width]:
        return False
    if isinstance(counts, str):
        counts = _decode(counts)
    if not isinstance(counts, list) or not all(type(count) is int and count >= 0 for count in counts):
        return False
    return sum(counts) == height * width


def _decode(text: str) -> list[int]:
    """The run lengths of COCO's text: 5 bits a character, from the fourth on the difference to that two before."""
    counts: list[int] = []
    value = shift = 0
    for character in text:
        if shift > LONGEST:
            return [-1]
        bits = ord(character) - 48
        value |= (bits & 0x1F) << shift
        shift += 5
        if not bits & 0x20:
            value -= (1 << shift) if bits & 0x10 else 0
            counts.append(value + (counts[-2] if len(counts) > 2 else 0))
            value = shift = 0
    return counts
