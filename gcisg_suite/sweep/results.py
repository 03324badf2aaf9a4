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

from .run import read_runs
from .sweep import check_runs, draw, in_order, metrics_of, table, with_interval
from .variants import read_sweep

ROOT = Path(__file__).resolve().parents[2]
DOCS = ROOT / "docs"


def contents(sections: list[dict[str, Any]], introduction: str, root: Path = ROOT) -> str:
    """The text of the page.

    A section has `title`, `sweep`, `split` and `text`. Optional keys: `paper` (variant -> the paper's figure) with
    `metric`, the name of that figure; `compare: false` if the first row is not a baseline; `networks` for the
    differences over several reference networks, see :func:`_networks`.
    """
    parts = ["# Results", introduction.strip()]
    for section in sections:
        parts += [f"## {section['title']}", *_section(section, root)]
    return "\n\n".join(parts) + "\n"


def _runs(section: dict[str, Any], root: Path) -> tuple[str, list[dict[str, Any]]]:
    file = root / section["sweep"]
    task, variants = read_sweep(file)
    lines = file.with_name(f"{file.stem}_{section['split']}.jsonl")
    runs = read_runs(lines)
    check_runs(runs, variants, lines)
    return task, in_order(runs, variants, section["split"])


def _section(section: dict[str, Any], root: Path) -> Iterator[str]:
    task, runs = _runs(section, root)
    metrics = metrics_of(task, runs, section["split"])
    rows = list(table(runs, section["split"], metrics))
    heads = [task, "seeds", *metrics, "against the first, 95 %"]
    if not section.get("compare", True):
        heads.pop()
        rows = [row[:-1] for row in rows]
    yield tabulate(rows, headers=heads, tablefmt="github", disable_numparse=True)
    if "paper" in section:  # not in our rows: the data and the recipe differ
        figures = ", ".join(f"{name} {figure}" for name, figure in section["paper"].items())
        yield f"For comparison, {section['metric']}: {figures}."
    yield f"![Each run and the means]({plot(section).relative_to(DOCS)})"
    yield section["text"].strip()
    if "networks" in section:
        yield _networks(section, runs, root)
    seeds = sorted({entry["seed"] for entry in runs})
    command = (
        f"python tools/sweep.py --sweep {section['sweep']} --seeds {seeds[0]}-{seeds[-1]} --split {section['split']}"
    )
    yield f"Again: `{command}`"


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
    """Path of a section's plot."""
    file = Path(section["sweep"])
    return DOCS / "results" / f"{file.parents[1].name}_{file.stem}.png"


def write() -> None:
    """Write the page and its plots."""
    content = yaml.safe_load((DOCS / "results.yml").read_text(encoding="utf-8"))
    write_text(DOCS / "results.md", contents(**content))
    for section in content["sections"]:
        task, runs = _runs(section, ROOT)
        draw(runs, section["split"], metrics_of(task, runs, section["split"])[0], plot(section))
