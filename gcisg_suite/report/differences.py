"""Where two models differ: what the second fixes and what it breaks over a whole test set, and images that show it."""

from __future__ import annotations

import io
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.figure import Figure
from matplotlib.patches import Patch
from matplotlib.patheffects import withStroke
from PIL import Image

from gcisg_core.config import require
from gcisg_core.files import replacing

INK, SOFT = "#1f2328", "#59636e"
# Of what is right, wrong, and the truth: Okabe and Ito's blue and vermilion, and the text's colour.
COLOURS = {True: "#0072b2", False: "#d55e00", None: INK}
MARKS = {True: "✓", False: "✗", None: ""}
HALO = (withStroke(linewidth=3, foreground="white"),)  # of what is drawn over photographs
CAPTION = (
    "Shown: images on which the two differ, evenly spaced through all of them, fixed and broken ones in proportion "
    "(at least one of each).\n"
    f"Blue, {MARKS[True]}: right. Orange, {MARKS[False]}: wrong."
)
# Of the picture, in inches.
WIDTH, LABELS, GAP, SMALLEST = 10.0, 0.85, 0.07, 9
HEADS = {"title": 0.3, "rule": 0.24, "header": 0.22, "legend": 0.3, "space": 0.2, "caption": 0.5}
DPI = 100


@dataclass(frozen=True)
class Differences:
    """What two models got right, item by item: images, or objects in them.

    Attributes:
        counted: What an item is, in the plural and with where it is: ``test images``.
        rule: When an item counts as right, a sentence.
        names: Of the two models.
        image: (N,), int: the number of the image of each item, ascending.
        right: (N, 2), bool: whether each model got it right.
        rows: Name of each picture of an image -> its height, as a share of its width.
        draw: `(image, axes)` draws an image into axes, one for each row, which have no frame and no ticks.
        columns: How many images are shown.
        legend: Name -> colour.

    Raises:
        ValueError: there are not two models, as where a run has lost its checkpoint.
    """

    counted: str
    rule: str
    names: Sequence[str]
    image: np.ndarray
    right: np.ndarray
    rows: Mapping[str, float]
    draw: Callable[[int, Sequence[Any]], None]
    columns: int
    legend: Mapping[str, Any] | None = None

    def __post_init__(self) -> None:
        require(len(self.names) == 2, "compared models", list(self.names), "two, of two runs with checkpoints")

    @property
    def fixed(self) -> np.ndarray:
        """(N,), bool: what the second model alone got right."""
        return ~self.right[:, 0] & self.right[:, 1]

    @property
    def broken(self) -> np.ndarray:
        """(N,), bool: what the first model alone got right."""
        return self.right[:, 0] & ~self.right[:, 1]

    @property
    def summary(self) -> str:
        """What is fixed and broken, and of how many."""
        fixed, broken = self.fixed.sum(), self.broken.sum()
        return f"{self.names[1]} fixes {fixed:,} and breaks {broken:,} of {len(self.right):,} {self.counted}"

    @property
    def totals(self) -> str:
        """How many each model got right."""
        found = (f"{count:,} ({name})" for count, name in zip(self.right.sum(axis=0), self.names, strict=True))
        return f"Right: {' and '.join(found)}."

    def chosen(self) -> list[int]:
        """The images that are shown, those with something fixed first; see :data:`CAPTION`."""
        fixed, broken = np.unique(self.image[self.fixed]), np.unique(self.image[self.broken])
        if not len(fixed) + len(broken):
            return []
        share = self.broken.sum() / (self.fixed | self.broken).sum()
        count = int(np.clip(round(self.columns * share), bool(len(broken)), self.columns - bool(len(fixed))))
        breaks = evenly(broken, count)
        return [*evenly(np.setdiff1d(fixed, breaks), self.columns - count), *breaks]

    def said(self, image: int) -> str:
        """What is fixed and broken in an image: ``2 fixed, 1 broken``, and no number where an image is one item."""
        here = self.image == image
        counts = {word: which[here].sum() for word, which in (("fixed", self.fixed), ("broken", self.broken))}
        alone = len(np.unique(self.image)) == len(self.image)
        return ", ".join(word if alone else f"{count} {word}" for word, count in counts.items() if count)


def evenly(items: np.ndarray, count: int) -> list[int]:
    """At most `count` of the items, the middles of as many equal parts."""
    count = min(count, len(items))
    return [int(item) for item in items[((np.arange(count) + 0.5) * len(items) / max(count, 1)).astype(int)]]


def mark(axis: Any, x: float, y: float, right: bool | None, text: str = "", **style: Any) -> None:
    """Write what is at (x, y) of a picture, and whether it is right; None for the truth."""
    style = {"fontsize": SMALLEST, "va": "top", "path_effects": HALO, **style}
    axis.text(x, y, f"{MARKS[right]} {text}".strip(), color=COLOURS[right], weight="bold", **style)


def draw(blocks: Mapping[str, Differences]) -> Figure:
    """A picture for all tasks, on a white card.

    Args:
        blocks: Title -> what is below it.
    """
    sheet = _Sheet(sum(map(_height, blocks.values())) + HEADS["caption"])
    for title, block in blocks.items():
        sheet.write(f"{title}: {block.summary}", HEADS["title"], fontsize=12, weight="bold")
        sheet.write(f"{block.totals} {block.rule}", HEADS["rule"], color=SOFT)
        _images(sheet, block)
        if block.legend:
            handles = [Patch(color=colour, label=name) for name, colour in block.legend.items()]
            at: dict[str, Any] = {"loc": "upper left", "bbox_to_anchor": sheet.place(LABELS - 0.1), "borderpad": 0.2}
            sheet.figure.legend(handles=handles, ncols=len(handles), frameon=False, fontsize=SMALLEST, **at)
            sheet.down += HEADS["legend"]
        sheet.down += HEADS["space"]
    sheet.write(CAPTION, HEADS["caption"], color=SOFT)
    return sheet.figure


def save(figure: Figure, path: Path) -> Path:
    """Write the picture as PNG of 256 colours, a quarter of the size; returns its path."""
    whole = io.BytesIO()
    figure.savefig(whole, format="png", dpi=DPI)
    with Image.open(whole) as image:
        # The octree keeps the few colours of masks and marks, which the many of the photographs outnumber.
        small = image.convert("RGB").quantize(256, Image.Quantize.FASTOCTREE)
    with replacing(path) as partial:
        small.save(partial, format="png", optimize=True)
    return path


class _Sheet:
    """A figure that is filled from its top, in inches."""

    def __init__(self, height: float) -> None:
        self.height, self.down = height + GAP, GAP
        self.figure = Figure(figsize=(WIDTH, self.height), facecolor="white")

    def place(self, left: float, down: float = 0.0) -> tuple[float, float]:
        """A point, from the left and from what is filled, in shares of the figure."""
        return left / WIDTH, 1 - (self.down + down) / self.height

    def write(self, text: str, height: float, **style: Any) -> None:
        """A text, and the height that it takes."""
        self.figure.text(*self.place(GAP), text, va="top", **{"color": INK, "fontsize": SMALLEST, **style})
        self.down += height

    def picture(self, left: float, width: float, height: float) -> Any:
        """Axes below what is filled, without frame and ticks."""
        x, y = self.place(left, height)
        axis = self.figure.add_axes((x, y, width / WIDTH, height / self.height))
        axis.axis("off")
        return axis


def _cell(block: Differences) -> float:
    """Width of an image."""
    return (WIDTH - LABELS - GAP) / block.columns


def _height(block: Differences) -> float:
    names = ("title", "rule", "header", "space", *(["legend"] if block.legend else []))
    pictures = _cell(block) * sum(block.rows.values()) + GAP * len(block.rows) if block.chosen() else 0
    return pictures + sum(HEADS[name] for name in names)


def _images(sheet: _Sheet, block: Differences) -> None:
    """A column for each image that is chosen."""
    images, cell = block.chosen(), _cell(block)
    if not images:
        sheet.write("There is no image on which the two differ.", HEADS["header"])
        return
    middles = [LABELS + (column + 0.5) * cell for column in range(len(images))]
    for middle, image in zip(middles, images, strict=True):
        style: dict[str, Any] = {"color": INK, "fontsize": SMALLEST, "ha": "center", "va": "top"}
        sheet.figure.text(*sheet.place(middle), block.said(image), **style)
    sheet.down += HEADS["header"]
    columns: list[list[Any]] = [[] for _ in images]
    for name, share in block.rows.items():
        height = share * cell
        sheet.figure.text(*sheet.place(GAP, height / 2), name, va="center", color=INK, fontsize=SMALLEST)
        for middle, column in zip(middles, columns, strict=True):
            column.append(sheet.picture(middle - (cell - GAP) / 2, cell - GAP, height))
        sheet.down += height + GAP
    for image, column in zip(images, columns, strict=True):
        block.draw(image, column)
