"""One self-contained HTML page about training or evaluation; reading it needs no other resource."""

from __future__ import annotations

import base64
import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import jinja2
from matplotlib.figure import Figure

from gcisg_core.files import write_text
from gcisg_suite.about import facts

from .chart import FOLDER, Chart, Library, draw


@dataclass
class Picture:
    """A figure and the sentence below it.

    Attributes:
        figure: What is shown.
        caption: The sentence.
        chart: Whether it has no photographs, so that it may turn dark with the page.
        charts: The curves that the figure shows; a browser with JavaScript draws them itself.
    """

    figure: Figure
    caption: str
    chart: bool = False
    charts: Sequence[Chart] = ()

    @property
    def source(self) -> str:
        """The picture as a `data:` address."""
        buffer = io.BytesIO()
        self.figure.savefig(buffer, format="png", dpi=110, bbox_inches="tight", transparent=self.chart)
        return "data:image/png;base64," + base64.b64encode(buffer.getvalue()).decode()

    @property
    def data(self) -> list[dict[str, Any]]:
        """The curves for the page's script."""
        return [chart.data() for chart in self.charts]


def curves(charts: Sequence[Chart], caption: str) -> Picture:
    """Curves that one can zoom, and their picture."""
    shown = [chart for chart in charts if chart.drawn()]
    return Picture(draw(shown), caption, chart=True, charts=shown)


@dataclass
class Section:
    """A part of a report.

    Attributes:
        title: The task, or what is shown.
        text: What was done, one string per paragraph.
        columns: Heads of the table; the first column holds the names of the rows.
        rows: Its rows, as text; none for no table.
        pictures: Figures, in order.
        commands: How to repeat it.
        settings: Rows of the settings' table: a name, then the setting of each method, in the order of ``configs``.
        configs: Method -> the text of its config.
        verdicts: The results, one sentence each, shown at the top of the page.
        split: The data that was evaluated on, for the head of the page.
        name: Short title, used if several sections have verdicts.
    """

    title: str
    text: Sequence[str]
    columns: Sequence[str] = ()
    rows: Sequence[Sequence[str]] = ()
    pictures: Sequence[Picture] = field(default_factory=list)
    commands: Sequence[str] = field(default_factory=list)
    settings: Sequence[Sequence[str]] = field(default_factory=list)
    configs: Mapping[str, str] = field(default_factory=dict)
    verdicts: Sequence[str] = ()
    split: str = ""
    name: str = ""


def write_report(path: Path, title: str, sections: Sequence[Section]) -> Path:
    """Write the page; returns its path."""
    told = [section for section in sections if section.verdicts]
    with_names = len(told) > 1
    splits = [
        f"{section.name or section.title}: {section.split}" if with_names else section.split
        for section in sections
        if section.split
    ]
    has_charts = any(picture.charts for section in sections for picture in section.pictures)
    library = Library()
    page = _ENVIRONMENT.get_template("page.html").render(
        title=title,
        sections=sections,
        verdicts=[
            ((section.name or section.title) if with_names else "", verdict)
            for section in told
            for verdict in section.verdicts
        ],
        facts={**({"Evaluated on": "; ".join(splits)} if splits else {}), **facts()},
        style=(library.style if has_charts else "") + (FOLDER / "page.css").read_text(encoding="utf-8"),
        script=library.script if has_charts else "",
    )
    return write_text(path, page.encode(errors="backslashreplace").decode())  # names that are not Unicode


_ENVIRONMENT = jinja2.Environment(
    loader=jinja2.FileSystemLoader(FOLDER), autoescape=True, trim_blocks=True, lstrip_blocks=True
)
