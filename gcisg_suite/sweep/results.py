"""Writes `docs/results.md` and its plots from the sweeps' runs and `docs/results.yml`, what is said of them.

No figure of ours is typed: the tables are those that `gcisg sweep` prints, beside the papers' figures.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import yaml
from tabulate import tabulate

from gcisg_core.files import write_text

from .grids import read_grid
from .sweep import check_runs, draw, in_order, measures_of, read_runs, table, with_interval

ROOT = Path(__file__).resolve().parents[2]
DOCS = ROOT / "docs"


def contents(sections: list[dict[str, Any]], introduction: str, root: Path = ROOT) -> str:
    """The page. A section: `title`, `grid`, `half`, `text`, and of the papers' figures `paper` (variant -> figure) and
    `measure`, what they measure; `compare: false` where the first row is nothing to compare with; `networks` asks for
    the differences over several reference networks, see :func:`_networks`.
    """
    parts = ["# Results", introduction.strip()]
    for section in sections:
        parts += [f"## {section['title']}", *_section(section, root)]
    return "\n\n".join(parts) + "\n"


def _runs(section: dict[str, Any], root: Path) -> tuple[str, list[dict[str, Any]]]:
    grid = root / section["grid"]
    task, variants = read_grid(grid)
    lines = grid.with_name(f"{grid.stem}_{section['half']}.jsonl")
    runs = read_runs(lines)
    check_runs(runs, variants, lines)
    return task, in_order(runs, variants, section["half"])


def _section(section: dict[str, Any], root: Path) -> Iterator[str]:
    task, runs = _runs(section, root)
    measures = measures_of(task, runs, section["half"])
    rows = list(table(runs, section["half"], measures))
    heads = [task, "seeds", *measures, "against the first, 95 %"]
    if not section.get("compare", True):
        heads.pop()
        rows = [row[:-1] for row in rows]
    if "paper" in section:
        heads.append(section["measure"])
        rows = [[*row, str(section["paper"].get(row[0], ""))] for row in rows]
    yield tabulate(rows, headers=heads, tablefmt="github", disable_numparse=True)
    yield f"![Each run and the means]({plot(section).relative_to(DOCS)})"
    yield section["text"].strip()
    if "networks" in section:
        yield _networks(section, runs, root)
    seeds = sorted({entry["seed"] for entry in runs})
    command = f"python tools/sweep.py --grid {section['grid']} --seeds {seeds[0]}-{seeds[-1]} --half {section['half']}"
    yield f"Again: `{command}`"


def _networks(section: dict[str, Any], runs: list[dict[str, Any]], root: Path) -> str:
    """Differences, each a mean over seeds, on the first network and on those of the section's own grid.

    `networks` has the `grid` of the first network's runs and `differences`, pairs of its variants.
    """
    asked = section["networks"]
    task, first = _runs({**section, **asked}, root)
    measure = measures_of(task, runs, section["half"])[0]
    values: dict[str, dict[str, dict[int, float]]] = {}  # of a network, a variant, a seed
    for entry in [*first, *runs]:
        name, _, network = entry["variant"].partition(", ")
        values.setdefault(network, {}).setdefault(name, {})[entry["seed"]] = entry[section["half"]][measure]
    rows = []
    for name, other in asked["differences"]:
        means = [np.mean([known[name][s] - known[other][s] for s in known[name]]) for known in values.values()]
        rows.append([f"{name} - {other}", *(f"{mean:+.2f}" for mean in means), with_interval(np.array(means))])
    heads = [f"{measure}, difference", *map(str, range(len(values))), "mean over networks, 95 %"]
    return tabulate(rows, headers=heads, tablefmt="github", disable_numparse=True)


def plot(section: dict[str, Any]) -> Path:
    """Where a section's plot goes."""
    grid = Path(section["grid"])
    return DOCS / "results" / f"{grid.parents[1].name}_{grid.stem}.png"


def write() -> None:
    """Write page and plots."""
    content = yaml.safe_load((DOCS / "results.yml").read_text(encoding="utf-8"))
    write_text(DOCS / "results.md", contents(**content))
    for section in content["sections"]:
        task, runs = _runs(section, ROOT)
        draw(runs, section["half"], measures_of(task, runs, section["half"])[0], plot(section))
