"""Pictures in rows with names: what the report's and the analysis' figures of images are made of."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from matplotlib.figure import Figure


def picture_grid(rows: Sequence[str], columns: int, size: tuple[float, float], **label: Any) -> tuple[Figure, Any]:
    """A figure and its axes (rows, columns), without ticks.

    Args:
        rows: Their names.
        columns: How many; one an image.
        size: Width and height of a picture, in inches.
        label: How the names are set, as matplotlib's `Axes.set_ylabel` takes it.
    """
    figure = Figure(figsize=(size[0] * columns, size[1] * len(rows)))
    axes = figure.subplots(len(rows), columns, squeeze=False)
    for axis, name in zip(axes[:, 0], rows, strict=True):
        axis.set_ylabel(name, **label)
    for axis in axes.flat:
        axis.set(xticks=[], yticks=[])
    return figure, axes
