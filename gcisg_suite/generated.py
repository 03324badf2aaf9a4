"""The generated parts of the documents, between `<!-- generated: KIND WORDS -->` and `<!-- end -->`.

Settings come from the code, costs from `benchmarks/results/methods.md`, gains from the runs beside the sweeps.
"""

from __future__ import annotations

import inspect
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
from tabulate import tabulate

from gcisg_core.config import Settings
from gcisg_core.files import write_text
from gcisg_core.lookup import choose
from gcisg_core.mixstyle import MixStyle
from gcisg_core.pasta import PASTA
from gcisg_core.regularizers import METHODS
from gcisg_core.styles import RandomStyle
from gcisg_suite import method_pictures
from gcisg_suite.sweep.overview import check_variants, gains_table
from gcisg_suite.sweep.overview import gains as measured_gains
from gcisg_suite.sweep.sweep import interval, with_interval

ROOT = Path(__file__).resolve().parents[1]
COSTS = "benchmarks/results/methods.md"
PART = re.compile(r"(<!-- generated: (\w+)([^\n]*?) -->\n)(.*?)(<!-- end -->)", re.DOTALL)
SETTINGS: dict[str, type] = {
    "common": Settings,
    **{name: method.settings_class for name, method in METHODS.items()},
    "mixstyle": MixStyle,
    "pasta": PASTA,
    "styles": RandomStyle,
}


def settings(name: str, root: Path = ROOT) -> str:
    """A table of the settings that a method adds to those of its parent class, with defaults, presets and meanings.

    `common`: those of every method.
    """
    cls = choose(SETTINGS, name, "settings")
    rows = _defaults(cls)
    if name != "common" and issubclass(cls, Settings):
        inherited = _defaults(Settings if cls is Settings else cls.__bases__[0])
        rows = {key: default for key, default in rows.items() if key not in inherited or inherited[key] != default}
    if not rows:
        return "It has no settings of its own."
    meanings = {key: text for base in reversed(cls.__mro__) for key, text in _meanings(base.__doc__ or "")}
    presets = {key: values for key, values in getattr(cls, "presets", {}).items() if values}
    heads = ["setting", "default", *(f"preset `{key}`" for key in presets), "meaning"]
    cells = [
        [f"`{key}`", _shown(default), *(_shown(v[key]) if key in v else "" for v in presets.values()), meanings[key]]
        for key, default in rows.items()
    ]
    common = [f"`{key}` to {_shown(v[key])}" for v in presets.values() for key in sorted(v.keys() - rows.keys())]
    note = f"\n\nThe preset also sets {', '.join(common)}." if common else ""
    return tabulate(cells, headers=heads, tablefmt="github", disable_numparse=True) + note


def _defaults(cls: type) -> dict[str, Any]:
    return {name: parameter.default for name, parameter in inspect.signature(cls).parameters.items()}


def _shown(value: Any) -> str:
    if value is inspect.Parameter.empty:
        return "required"
    text = f'"{value}"' if isinstance(value, str) else str(list(value) if isinstance(value, tuple) else value)
    return f"`{text}`"


def _meanings(docstring: str) -> Iterator[tuple[str, str]]:
    """Name and meaning of what stands under `Attributes:` or `Args:`; names that share a line share it."""
    part = re.search(r"^ *(?:Attributes|Args):\n(.*?)(?=\n *\n|\Z)", docstring, re.DOTALL | re.MULTILINE)
    if not part:
        return
    for names, text in re.findall(r"^ {8}(\w[\w, ]*): (.*(?:\n {12}.*)*)", part[1], re.MULTILINE):
        plain = re.sub(r":\w+:`~?(?:[\w.]+\.)?(\w+)`", r"`\1`", " ".join(text.split())).replace("``", "`")
        yield from ((name, plain.replace("|", r"\|")) for name in names.split(", "))


def cost(method: str, root: Path = ROOT) -> str:
    """What a step costs beside one of plain fine-tuning, in each task, as measured."""
    cells = [[task, row["of none"], row["passes"], row["MB over none"]] for task, row in _costs(root)[method].items()]
    heads = ["task", "step time, relative to vanilla", "backbone passes", "extra memory, MB"]
    return tabulate(cells, headers=heads, tablefmt="github", disable_numparse=True)


def costs(root: Path = ROOT) -> str:
    """A table of all costs: a row for each method, a column for each task."""
    cells = [
        [f"[{method}](methods/{method}.md)", *(f"{row['of none']}, {row['MB over none']} MB" for row in rows.values())]
        for method, rows in _costs(root).items()
    ]
    heads = ["method", *next(iter(_costs(root).values()))]
    return tabulate(cells, headers=heads, tablefmt="github", disable_numparse=True)


def _costs(root: Path) -> dict[str, dict[str, dict[str, str]]]:
    """Method -> task -> column -> cell of the benchmark's table."""
    lines = (root / COSTS).read_text(encoding="utf-8").splitlines()
    heads, *rows = [[cell.strip() for cell in line.split("|")[1:-1]] for line in lines if line.startswith("|")]
    found: dict[str, dict[str, dict[str, str]]] = {}
    for cells in rows[1:]:
        row = dict(zip(heads, cells, strict=True))
        row["MB over none"] = f"{float(row['MB over none']):+.0f}"
        found.setdefault(row["method"], {})[row["task"]] = row
    return found


def gain(*words: str, root: Path = ROOT) -> str:
    """A line a task: the gain over plain fine-tuning on the miniature's test split, paired over seeds.

    Args:
        words: Of the variant's name in `projects/*/sweeps/methods.yaml`.
        root: Of the repository.

    Raises:
        ValueError: there is no such variant.
    """
    name = " ".join(words)
    check_variants([name], root)
    lines = []
    for task in measured_gains(root):
        values = task.of.get(name, np.array([]))
        beside = "against" if len(values) and values.mean() < 0 else "over"
        unit = f"points of {task.metric} {beside} vanilla"
        if len(values) > 1:
            ends = interval(values)
            end = ": no clear difference" if ends and ends[0] <= 0 <= ends[1] else ""
            line = f"{with_interval(values)} {unit} (mean and 95 % interval of {len(values)} seeds){end}"
        else:
            line = f"{values[0]:+.2f} {unit} (one seed, so no interval)" if len(values) else "not run"
        lines.append(f"- {task.task.capitalize()}: {line}.")
    return "\n".join(lines)


def gains(root: Path = ROOT) -> str:
    """A table of all gains: a row for each page of `docs/methods` that shows one, a column for each task."""
    rows = {}
    for path in sorted((root / "docs/methods").glob("*.md")):
        for part in PART.finditer(path.read_text(encoding="utf-8")):
            if part[2] == "gain":
                rows[f"[{path.stem}](methods/{path.name})"] = part[3].strip()
    return gains_table(rows, root)


KINDS: dict[str, Callable[..., str]] = {
    "settings": settings,
    "cost": cost,
    "costs": costs,
    "gain": gain,
    "gains": gains,
}


def filled(text: str, root: Path = ROOT) -> str:
    """A document with its generated parts regenerated."""

    def fill(part: re.Match[str]) -> str:
        begin, kind, words, _, end = part.groups()
        return f"{begin}\n{choose(KINDS, kind, 'generated part')(*words.split(), root=root)}\n\n{end}"

    return PART.sub(fill, text)


def documents(root: Path = ROOT) -> list[Path]:
    """Every document that has generated parts."""
    return [path for path in sorted((root / "docs").rglob("*.md")) if PART.search(path.read_text(encoding="utf-8"))]


def write(root: Path = ROOT) -> None:
    """Regenerate every generated part, and every picture of a method."""
    method_pictures.write(root / "docs/methods")
    for path in documents(root):
        write_text(path, filled(path.read_text(encoding="utf-8"), root))
