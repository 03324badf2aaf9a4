"""Writes `docs/results.md` and its plots, from the runs of the sweeps and the texts in `docs/results.yml`.

The tables are those that `gcisg sweep` prints, so none of our figures is typed by hand; the papers' figures are.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import yaml
from tabulate import tabulate

from gcisg_core.files import write_text

from .overview import check_variants, draw_gains, gains, gains_table
from .sweep import draw, finished_runs, metrics_of, table, with_interval

ROOT = Path(__file__).resolve().parents[2]
PICTURE = Path("docs/results/overview.png")
ALT = "Gain of each method over vanilla in each task, mean and 95 % interval; the tables below have the numbers"


def contents(sections: list[dict[str, Any]], introduction: str, overview: dict[str, Any], root: Path = ROOT) -> str:
    """The page.

    Args:
        sections: Each has `title`, `sweep`, `split` and `text`; of the papers' figures `paper` (variant -> figure) and
            `metric`, what they are figures of; `rows` names the variants that it is about, where another section has
            the plot of all; `compare: false` where the first row is nothing to compare with; `networks` asks for the
            differences over several reference networks, see :func:`_networks`.
        introduction: What all of them share.
        overview: `methods`, the variants of `sweeps/methods.yaml` that the first picture shows, `table`, those that the
            first table has, and `text`.
        root: Of the repository.
    """
    parts = ["# Results", *_overview(overview, root), "## How to read it", introduction.strip()]
    done = [section for section in sections if _runs(section, root)[1]]
    for section in done:
        parts += [f"## {section['title']}", *_section(section, root)]
    if missing := [section for section in sections if section not in done]:
        rows = [(section["title"], f"`{_command(section)}`") for section in missing]
        parts += ["## Not run yet", tabulate(rows, headers=["table", "command"], tablefmt="github")]
    return "\n\n".join(part for part in parts if part) + "\n"


def _overview(overview: dict[str, Any], root: Path) -> Iterator[str]:
    check_variants(overview["methods"], root)
    yield overview["text"].strip()
    if any(task.of for task in gains(root)):
        yield f"![{ALT}]({PICTURE.relative_to('docs')})"
        yield gains_table({name: name for name in overview["table"]}, root)


def _runs(section: dict[str, Any], root: Path) -> tuple[str, list[dict[str, Any]]]:
    task, runs = finished_runs(root / section["sweep"], section["split"])
    return task, [run for run in runs if run["variant"] in section.get("rows", [run["variant"]])]


def _section(section: dict[str, Any], root: Path) -> Iterator[str]:
    task, runs = _runs(section, root)
    metrics = metrics_of(task, runs, section["split"])
    rows = list(table(runs, section["split"], metrics))
    heads = [task, "seeds", *metrics, "difference from the first, 95 %"]
    if not section.get("compare", True):
        heads.pop()
        rows = [row[:-1] for row in rows]
    yield tabulate(rows, headers=heads, tablefmt="github", disable_numparse=True)
    if "paper" in section:  # not in our rows: the data and the recipe differ
        figures = ", ".join(f"{name} {figure}" for name, figure in section["paper"].items())
        yield f"For comparison, {section['metric']}: {figures}."
    if "rows" not in section:
        yield f"![Each run and the means]({plot(section).relative_to('docs')})"
    yield section["text"].strip()
    if "networks" in section:
        yield _networks(section, runs, root)
    first, *others = sorted({entry["seed"] for entry in runs})
    seeds = f"{first}-{others[-1]}" if others else first
    yield f"To run it again: `{_command(section, f' --seeds {seeds}')}`"


def _command(section: dict[str, Any], seeds: str = "") -> str:
    return f"python tools/sweep.py --sweep {section['sweep']}{seeds} --split {section['split']}"


def _networks(section: dict[str, Any], runs: list[dict[str, Any]], root: Path) -> str:
    """A table of differences (means over seeds) on the first reference network and on those of the section's sweep.

    `networks` has the `sweep` with the first network's runs, and `differences`, pairs of its variants.
    """
    asked = section["networks"]
    task, first = _runs({**section, **asked}, root)
    metric = metrics_of(task, runs, section["split"])[0]
    values: dict[str, dict[str, dict[int, float]]] = {}  # network -> variant -> seed -> value
    for entry in [*first, *runs]:
        name, _, network = entry["variant"].partition(", ")
        values.setdefault(network, {}).setdefault(name, {})[entry["seed"]] = entry[section["split"]][metric]
    rows = []
    for name, other in asked["differences"]:
        means = [np.mean([known[name][s] - known[other][s] for s in known[name]]) for known in values.values()]
        rows.append([f"{name} - {other}", *(f"{mean:+.2f}" for mean in means), with_interval(np.array(means))])
    heads = [f"{metric}, difference", *map(str, range(len(values))), "mean over networks, 95 %"]
    return tabulate(rows, headers=heads, tablefmt="github", disable_numparse=True)


def plot(section: dict[str, Any]) -> Path:
    """Where a section's plot goes, in the repository."""
    file = Path(section["sweep"])
    return Path("docs/results") / f"{file.parents[1].name}_{file.stem}.png"


def write(root: Path = ROOT) -> None:
    """Write page and plots."""
    content = yaml.safe_load((root / "docs/results.yml").read_text(encoding="utf-8"))
    write_text(root / "docs/results.md", contents(**content, root=root))
    if tasks := [task for task in gains(root) if task.of]:
        draw_gains(content["overview"]["methods"], tasks, root / PICTURE)
    for section in content["sections"]:
        task, runs = _runs(section, root)
        if runs and "rows" not in section:
            draw(runs, section["split"], metrics_of(task, runs, section["split"])[0], root / plot(section))
