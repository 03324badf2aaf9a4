"""What each method gains over plain fine-tuning in each task: one table and one picture, from `sweeps/methods.yaml`."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from tabulate import tabulate

from gcisg_core.files import replacing
from gcisg_core.lookup import choose
from gcisg_suite.tasks import TASKS

from .sweep import GREY, differences, finished_runs, interval, with_interval
from .variants import read_sweep

CLEAR, UNCLEAR = "#2e8fd6", GREY["text.color"]  # of a gain whose interval leaves zero out, or holds it


class Gains(NamedTuple):
    """What was measured in a task on the test split of the miniature.

    Attributes:
        task: Its name.
        metric: The task's first one.
        vanilla: Value of the first variant at each seed.
        of: Variant -> gain over the first one at each seed that both have.
    """

    task: str
    metric: str
    vanilla: Sequence[float]
    of: Mapping[str, np.ndarray]


def gains(root: Path) -> list[Gains]:
    """The gains in each task, in the order of the tasks; empty if the sweep was not run."""
    found = []
    for name, task in TASKS.items():
        file, metric = _sweep(root, name), task.metrics[0]
        runs, first = finished_runs(file, "test")[1], next(iter(read_sweep(file)[1]))
        vanilla = [run["test"][metric] for run in runs if run["variant"] == first]
        found.append(Gains(name, metric, vanilla, differences(runs, "test", metric) if vanilla else {}))
    return found


def _sweep(root: Path, task: str) -> Path:
    return root / "projects" / task / "sweeps/methods.yaml"


def check_variants(names: Iterable[str], root: Path) -> None:
    """Raise a `ValueError` if there is a name that no task's sweep has."""
    known = dict.fromkeys(variant for task in TASKS for variant in read_sweep(_sweep(root, task))[1])
    for name in names:
        choose(known, name, "variant of projects/*/sweeps/methods.yaml")


def gains_table(rows: Mapping[str, str], root: Path) -> str:
    """One row per method, one column per task: mean gain, 95 % interval, and the seeds if fewer than vanilla's.

    Args:
        rows: What the first column says -> the variant.
        root: Of the repository.

    Raises:
        ValueError: no task's sweep has such a variant.
    """
    check_variants(rows.values(), root)
    tasks = gains(root)
    cells = [[shown, *(_cell(task, variant) for task in tasks)] for shown, variant in rows.items()]
    heads = ["method", *(f"{task.task}, {task.metric}, {_seeds(len(task.vanilla))}" for task in tasks)]
    return tabulate([row for row in cells if any(row[1:])], headers=heads, tablefmt="github", disable_numparse=True)


def _cell(task: Gains, variant: str) -> str:
    if variant not in task.of:
        return ""
    values = task.of[variant]
    return with_interval(values) + (f", {_seeds(len(values))}" if len(values) != len(task.vanilla) else "")


def _seeds(number: int) -> str:
    return "1 seed" if number == 1 else f"{number} seeds"


def draw_gains(names: Sequence[str], tasks: Sequence[Gains], path: Path) -> None:
    """One panel per task: each method's mean gain and 95 % interval, in one order; for light and dark pages."""
    from matplotlib import rc_context
    from matplotlib.figure import Figure

    with rc_context(GREY):
        figure = Figure(figsize=(9.1, 1.3 + 0.3 * len(names)), layout="constrained")
        axes: Any = figure.subplots(1, len(tasks), sharey=True, squeeze=False)[0]
        for axis, task in zip(axes, tasks, strict=True):
            _panel(axis, task, names)
        with replacing(path) as partial:
            figure.savefig(partial, dpi=110, transparent=True)


def _panel(axis: Any, task: Gains, names: Sequence[str]) -> None:
    shown = {row: task.of[name] for row, name in enumerate(names) if name in task.of}
    for row, values in shown.items():
        ends = interval(values)
        colour = UNCLEAR if ends is None or ends[0] <= 0 <= ends[1] else CLEAR
        axis.plot(values.mean(), row, "o", color=colour)
        if ends:
            axis.plot(ends, [row, row], color=colour, linewidth=2)
    counts = sorted({len(values) for values in shown.values()} or {len(task.vanilla)})
    seeds = " to ".join(str(count) for count in dict.fromkeys([counts[0], counts[-1]]))
    axis.axvline(0, color="#d55e00", linewidth=1, zorder=0)
    axis.set(yticks=range(len(names)), yticklabels=names, ylim=(len(names) - 0.5, -0.5))
    axis.set(xlabel=f"{task.metric}, points over vanilla")
    axis.set_title(f"{task.task}, {seeds} seeds\nvanilla {np.mean(task.vanilla):.1f}", fontsize="medium")
    axis.grid(axis="both", alpha=0.3)
