"""Decides what the four numbers of a box mean: COCO's [x, y, width, height], or corners [x1, y1, x2, y2]."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from .findings import Findings, Level
from .values import Box, number

MARGIN = 1.0  # pixels that a box may reach outside: tools differ in whether a box includes its last pixel
MOST = 0.9  # share of boxes that must fit their images as corners in a file of corners; most files have some bad boxes
CORNERS = "Write [x, y, width, height] in place of [x1, y1, x2, y2]"


@dataclass(frozen=True)
class Entry:
    """An annotation whose image, category and four numbers are known.

    Attributes:
        where: Its name in messages.
        item: The annotation as it is in the file.
        image: Its image in COCO's form.
        category: Its category's id.
        box: The four numbers.
    """

    where: str
    item: dict[str, Any]
    image: dict[str, Any]
    category: int
    box: Box

    def reaches_outside(self, box: Box) -> bool:
        """Whether (x1, y1, x2, y2) reaches more than :data:`MARGIN` outside the image."""
        width, height = self.image["width"], self.image["height"]
        return min(box[:2]) < -MARGIN or box[2] > width + MARGIN or box[3] > height + MARGIN


def as_size(box: Box) -> Box:
    """(x1, y1, x2, y2) of [x, y, width, height]."""
    x, y, width, height = box
    return x, y, x + width, y + height


def are_corners(entries: Sequence[Entry], findings: Findings) -> bool:
    """Decide for a whole file whether its boxes are corners, and add a finding if they are or may be.

    If most boxes reach outside their image as [x, y, width, height] but fit it as corners, they are corners. Otherwise
    `area` and `segmentation` decide: the boxes are corners if these agree with corners only, for most boxes (for a
    single box, an area may agree by chance). Without either, a file that fits both ways is read as [x, y, width,
    height], and a file with boxes that fit only as corners is refused.
    """
    boxes = [entry for entry in entries if entry.box[2] > 0 and entry.box[3] > 0]
    outside = [entry for entry in boxes if entry.reaches_outside(as_size(entry.box))]
    fits = sum(_is_ordered(entry.box) and not entry.reaches_outside(entry.box) for entry in boxes)
    if not boxes or fits < MOST * len(boxes):
        return False
    counts = (
        f"{len(outside)} of {len(boxes)} boxes reach outside as [x, y, width, height], {len(boxes) - fits} as corners"
    )
    example = f"{(outside or boxes)[0].where}: bbox {list((outside or boxes)[0].box)}"
    votes = [vote for entry in boxes if (vote := _vote(entry)) is not None]
    if 2 * len(outside) > len(boxes) or 2 * sum(votes) > len(boxes):
        kind = f"boxes that are corners [x1, y1, x2, y2], read as such ({counts})"
        findings.add(Level.REPAIRED, kind, example, CORNERS, len(boxes))
        return True
    if not votes and fits == len(boxes):
        remedy = f"{CORNERS} if they are corners; `area` or `segmentation` would make it clear"
        if outside:
            kind = f"boxes that may be [x, y, width, height] or corners [x1, y1, x2, y2] ({counts})"
            findings.add(Level.REFUSED, kind, example, remedy, len(boxes))
        else:
            kind = "boxes that fit their images as [x, y, width, height] and as corners, read as the first"
            findings.add(Level.REPAIRED, kind, example, remedy, len(boxes))
    return False


def refuse_fractions(entries: Sequence[Entry], findings: Findings) -> None:
    """Refuse boxes given as fractions of the image's size; read as pixels, they would be smaller than a pixel."""
    boxes = [entry for entry in entries if entry.box[2] > 0 and entry.box[3] > 0]
    values = [value for entry in boxes for value in entry.box]
    if values and min(values) >= 0 and max(values) <= 1 and any(value % 1 for value in values):
        first = next(entry for entry in boxes if any(value % 1 for value in entry.box))
        example = f"{first.where}: bbox {list(first.box)}, expected pixels"
        remedy = "Multiply x and width by the image's width, y and height by its height"
        findings.add(Level.REFUSED, "boxes with all numbers between 0 and 1", example, remedy, len(boxes))


def _is_ordered(box: Box) -> bool:
    return box[0] < box[2] and box[1] < box[3]


def _vote(entry: Entry) -> bool | None:
    """Whether the annotation's outline or area shows that the box is a pair of corners; None if neither decides."""
    if not _is_ordered(entry.box):
        return False
    for told, size, corners in (
        (_outline(entry.item.get("segmentation")), as_size(entry.box), entry.box),
        (_area(entry.item.get("area")), (entry.box[2] * entry.box[3],), (_corner_area(entry.box),)),
    ):
        readings = [told is not None and _close(told, reading) for reading in (size, corners)]
        if sum(readings) == 1:
            return readings[1]
    return None


def _corner_area(box: Box) -> float:
    return (box[2] - box[0]) * (box[3] - box[1])


def _area(value: Any) -> tuple[float, ...] | None:
    found = number(value)
    return None if found is None or found <= 0 else (found,)


def _outline(segmentation: Any) -> tuple[float, ...] | None:
    """(x1, y1, x2, y2) around polygons."""
    if not isinstance(segmentation, list):
        return None
    points = [value for polygon in segmentation if isinstance(polygon, list) for value in polygon]
    found = [value for value in map(number, points) if value is not None]
    if len(found) < 4 or len(found) != len(points) or len(found) % 2:
        return None
    return min(found[::2]), min(found[1::2]), max(found[::2]), max(found[1::2])


def _close(first: Sequence[float], second: Sequence[float]) -> bool:
    return all(math.isclose(a, b, rel_tol=0.01, abs_tol=1.0) for a, b in zip(first, second, strict=True))
