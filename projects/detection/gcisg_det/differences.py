"""The digits of the test scenes on which two detectors differ."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any

import numpy as np
from matplotlib.patches import Rectangle
from pycocotools.mask import iou

from gcisg_suite.images import read_image
from gcisg_suite.report.demonstration import DIGITS
from gcisg_suite.report.differences import COLOURS, HALO, Differences, mark
from gcisg_suite.report.runs import TrainingRun

from .panels import SHOWN, Evaluated, evaluated

TEXT = (30, 14)  # width and height of what is written at a box, in pixels of a scene
OVERLAP = 0.5  # lowest IoU of a box that finds a digit


def differences(runs: Mapping[str, TrainingRun]) -> Differences:
    """Two runs of the miniature on the data set that they were evaluated on last.

    Raises:
        ValueError: a run was not evaluated.
    """
    data = evaluated(runs)
    _, *names = data.boxes
    digits = []
    for image in data.images:
        truth, *found = data.of(image).values()
        digits.append(np.stack([matches(truth, boxes).any(axis=1) for boxes in found], axis=1))
    first = data.images[0]
    return Differences(
        counted=f"digits in {len(data.images)} test scenes",
        rule=f"A digit is right when a box of its class, with a score of {SHOWN} or more, has an IoU of {OVERLAP} or "
        "more with its box.",
        names=names,
        image=np.repeat(np.arange(len(data.images)), [len(hits) for hits in digits]),
        right=np.concatenate(digits),
        rows=dict.fromkeys(data.boxes, first["height"] / first["width"]),
        draw=partial(_draw, data),
        columns=7,
    )


def matches(truth: Sequence[Mapping[str, Any]], found: Sequence[Mapping[str, Any]]) -> np.ndarray:
    """(digits, boxes), bool: which boxes find which digits; both in COCO's form, of one image."""
    if not truth or not found:
        return np.zeros((len(truth), len(found)), bool)
    boxes, goals = (np.array([item["bbox"] for item in items], float) for items in (found, truth))
    same = np.equal.outer([item["category_id"] for item in truth], [item["category_id"] for item in found])
    overlap = np.asarray(iou(boxes, goals, [0] * len(goals))).T
    hits: np.ndarray = same & (overlap >= OVERLAP)
    return hits


def _draw(data: Evaluated, image: int, axes: Sequence[Any]) -> None:
    about = data.images[image]
    boxes, picture = data.of(about), read_image(data.folder / about["file_name"])
    for axis, (name, items) in zip(axes, boxes.items(), strict=True):
        axis.imshow(picture)
        for item, hit in zip(items, matches(boxes["truth"], items).T, strict=True):
            x, y, width, height = item["bbox"]
            right = None if name == "truth" else bool(hit.any())
            style: dict[str, Any] = {"fill": False, "linewidth": 1.5, "edgecolor": COLOURS[right], "path_effects": HALO}
            axis.add_patch(Rectangle((x, y), width, height, **style))
            at = {"va": "bottom"} if y > TEXT[1] else {"va": "top"}  # above the box, where there is room
            mark(axis, min(x, about["width"] - TEXT[0]), y, right, DIGITS[data.classes[item["category_id"]]], **at)
