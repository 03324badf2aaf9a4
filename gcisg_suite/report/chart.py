"""Curves of a page: a picture, and the numbers from which a browser draws them, with zoom and values."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

from matplotlib.figure import Figure

# Okabe and Ito's, without yellow and black, which cannot be seen on light or on dark pages.
COLOURS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9")
DASHES = ((), (6, 3), (2, 2), (8, 3, 2, 3))
STYLES = ("solid", "dashed", "dotted", "double")  # of their marks in the legend
FOLDER = Path(__file__).parent


@dataclass
class Line:
    """A curve.

    Attributes:
        name: In the legend; empty for another seed of the previous line.
        points: x -> y, in the order of x.
        colour: Index into :data:`COLOURS`, modulo their number.
        dash: The same for :data:`DASHES`.
    """

    name: str
    points: Mapping[float, float]
    colour: int = 0
    dash: int = 0


@dataclass
class Chart:
    """One pair of axes.

    Attributes:
        title: What is drawn.
        lines: The curves; curves without points are left out.
        x: What the horizontal axis counts.
        mark: An x to be marked.
    """

    title: str
    lines: list[Line] = field(default_factory=list)
    x: str = "iteration"
    mark: float | None = None

    def drawn(self) -> list[Line]:
        return [line for line in self.lines if line.points]

    def data(self) -> dict[str, Any]:
        """The input of `page.js`: all x, and for each line its y or null."""
        lines = self.drawn()
        steps = sorted({x for line in lines for x in line.points})
        return {
            "title": self.title,
            "x": self.x,
            "mark": self.mark,
            "steps": steps,
            "lines": [
                {
                    "name": line.name,
                    "colour": COLOURS[line.colour % len(COLOURS)],
                    "dash": DASHES[line.dash % len(DASHES)],
                    "style": STYLES[line.dash % len(DASHES)],
                    "values": [line.points.get(x) for x in steps],
                }
                for line in lines
            ],
        }


def draw(charts: Sequence[Chart]) -> Figure:
    """The picture that a page shows without JavaScript."""
    figure = Figure(figsize=(3.6 * len(charts), 3.2))
    for axis, chart in zip(figure.subplots(1, len(charts), squeeze=False)[0], charts, strict=True):
        for line in chart.drawn():
            dashes = DASHES[line.dash % len(DASHES)]
            axis.plot(
                list(line.points), list(line.points.values()), ".-" if not dashes else ".--", markersize=4,
                color=COLOURS[line.colour % len(COLOURS)], label=line.name or None, dashes=dashes or (None, None),
            )  # fmt: skip
        if chart.mark is not None:
            axis.axvline(chart.mark, color="grey", linestyle=":")
        axis.set(title=chart.title, xlabel=chart.x)
        axis.title.set_size(10)
        if axis.get_legend_handles_labels()[0]:
            axis.legend(fontsize=7)
    figure.tight_layout()
    return figure


class Library:
    """What a page with charts embeds once: uPlot (MIT), its licence, and `page.js`."""

    @cached_property
    def script(self) -> str:
        licence = (FOLDER / "uPlot.LICENSE").read_text(encoding="utf-8")
        parts = ((FOLDER / name).read_text(encoding="utf-8") for name in ("uPlot.iife.min.js", "page.js"))
        return "\n".join([f"/*\n{licence}*/", *parts])

    @cached_property
    def style(self) -> str:
        return (FOLDER / "uPlot.min.css").read_text(encoding="utf-8")
