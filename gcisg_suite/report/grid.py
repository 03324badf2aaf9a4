"""Pictures in named rows, for the figures of reports and analyses."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import matplotlib as mpl
import numpy as np
from matplotlib.figure import Figure

HEAT = "viridis"  # of every heat map and matrix: readable for colour-blind people, and in grey
MAP_SHARE = 0.6  # of a heat map over its image


def picture_grid(rows: Sequence[str], columns: int, size: tuple[float, float], **label: Any) -> tuple[Figure, Any]:
    """A figure and its axes (rows, columns), without ticks.

    Args:
        rows: Their names.
        columns: Number of columns, one for each image.
        size: Width and height of a picture, in inches.
        label: Arguments of matplotlib's `Axes.set_ylabel` for the names.
    """
    figure = Figure(figsize=(size[0] * columns, size[1] * len(rows)))
    axes = figure.subplots(len(rows), columns, squeeze=False)
    for axis, name in zip(axes[:, 0], rows, strict=True):
        axis.set_ylabel(name, **label)
    for axis in axes.flat:
        axis.set(xticks=[], yticks=[])
    return figure, axes


def heat_over(pixels: np.ndarray, heat: np.ndarray) -> np.ndarray:
    """An image (H, W, 3), uint8, in grey under a map (H, W) of values in [0, 1]."""
    grey = np.repeat(pixels.mean(axis=2, keepdims=True) / 255, 3, axis=2)
    mixed: np.ndarray = (1 - MAP_SHARE) * grey + MAP_SHARE * mpl.colormaps[HEAT](heat)[..., :3]
    return mixed
