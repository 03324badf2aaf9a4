"""Masks of annotations: polygons with 3 or more points, or run-length encoding (RLE)."""

from __future__ import annotations

import math
from typing import Any

from .values import number

LONGEST = 60  # most bits of a number; without a limit, a malicious string would take hours to decode


def usable_mask(segmentation: Any, height: int, width: int) -> list[list[float]] | dict[str, Any] | None:
    """The polygons or the RLE that can be drawn; None if there are none.

    Args:
        segmentation: A list of polygons [x1, y1, x2, y2, ...], one polygon, or {"size": [height, width], "counts"}.
        height, width: Size of the image in pixels.
    """
    if isinstance(segmentation, dict):
        return segmentation if _is_rle(segmentation, height, width) else None
    if not isinstance(segmentation, list):
        return None
    polygons = segmentation if any(isinstance(item, list) for item in segmentation) else [segmentation]
    found = (_numbers(polygon) for polygon in polygons if isinstance(polygon, list))
    # pycocotools needs memory for each pixel of an outline, so one that extends far outside its image is rejected.
    far = 2 * max(height, width) + 1000
    return [p for p in found if len(p) >= 6 and len(p) % 2 == 0 and -far <= min(p) and max(p) <= far] or None


def _numbers(polygon: list[Any]) -> list[float]:
    """The numbers of a polygon; an empty list if any value is not a finite number."""
    # The fast path for plain floats, of which a large file has tens of millions.
    if {*map(type, polygon)} == {float} and all(map(math.isfinite, polygon)):
        return polygon
    found = [number(value) for value in polygon]
    return [value for value in found if value is not None] if None not in found else []


def _is_rle(mask: dict[str, Any], height: int, width: int) -> bool:
    """Whether the run lengths fill the image exactly, which pycocotools does not check."""
    counts = mask.get("counts")
    if mask.get("size") != [height, width]:
        return False
    if isinstance(counts, str):
        counts = _decode(counts)
    if not isinstance(counts, list) or not all(type(count) is int and count >= 0 for count in counts):
        return False
    return sum(counts) == height * width


def _decode(text: str) -> list[int]:
    """Decode COCO's RLE string: 5 bits a character; from the fourth count on, differences to the count two before."""
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
