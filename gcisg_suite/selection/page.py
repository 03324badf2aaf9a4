"""The page about a choice: the checkpoint, the criterion, and the curve of each criterion."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from gcisg_suite.analysis.page import HEADS
from gcisg_suite.report.chart import Chart, Line
from gcisg_suite.report.page import Section, curves, write_report

from .criteria import choice, costs, missing, ranking, ranks, select
from .settings import CRITERIA, TARGET

FILE = "selection.html"


def write_page(run: Path, lines: Sequence[Mapping[str, Any]], by: str) -> Path:
    """Write `selection.html` into a run's folder; returns its path.

    Args:
        run: The folder.
        lines: Its evaluated checkpoints, see :func:`gcisg_suite.selection.criteria.evaluate_checkpoint`.
        by: The criterion that chooses.

    Raises:
        ValueError: see :func:`gcisg_suite.selection.criteria.select`.
    """
    columns, rows = ranking(lines, by)
    found, chosen = ranks(lines), select(lines, by)
    charts = [
        Chart(_title(name, lines[0]["head"]), [Line(name, _points(lines, name), colour)], mark=chosen["iteration"])
        for colour, name in enumerate((*CRITERIA, TARGET))
        if name in found
    ]
    first = Section(
        "The ranking",
        [*missing(lines), "docs/selection.md explains what each criterion measures and where it misleads."],
        columns,
        _texts(rows),
        [curves(charts, "Each criterion at each checkpoint; the dotted line marks the one that is chosen.")],
        verdicts=[f"{choice(lines, by)}."],
        split=f"{lines[0]['images']}; source: {lines[0]['source_images'] or 'no validation images'}",
    )
    sections = [first]
    if TARGET in found:
        heads, cost = costs(lines)
        note = "How far each choice is below the best checkpoint on the target, by its labels."
        sections.append(Section("What the choices cost", [note], heads, _texts(cost)))
    return write_report(run / FILE, f"Checkpoints of {run.name}", sections)


def _title(name: str, head: str) -> str:
    return f"{name} {head}" if name in ("source", TARGET) else HEADS.get(CRITERIA[name].metric, name)


def _points(lines: Sequence[Mapping[str, Any]], name: str) -> dict[float, float]:
    return {line["iteration"]: line[name] for line in lines if not isinstance(line.get(name, ""), str)}


def _texts(rows: Sequence[Sequence[Any]]) -> list[list[str]]:
    return [[f"{cell:.4g}" if isinstance(cell, float) else str(cell) for cell in row] for row in rows]
