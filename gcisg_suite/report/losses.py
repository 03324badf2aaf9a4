"""The curves of runs: the task's loss, the method's own terms, and evaluations, each under its name."""

from __future__ import annotations

import re
import statistics
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import partial
from typing import Any

from gcisg_core.regularizers import is_term

from .chart import Chart, Line
from .page import Picture, curves
from .runs import TrainingRun, run_values

SUMS = ("loss", "total_loss")  # of all, by mmengine and Detectron2


def losses_of(run: TrainingRun) -> list[str]:
    """The names of a run's logged losses, without their sum, in order of first appearance."""
    return [
        key for key in dict.fromkeys(k for entry in run.training for k in entry) if "loss" in key and key not in SUMS
    ]


def terms_of(run: TrainingRun) -> list[str]:
    """The losses that the run's method added to the task's."""
    return [name for name in losses_of(run) if is_term(name, run.method)]


def term_name(loss: str) -> str:
    """``loss_ci_stage4`` is ``ci, stage 4``."""
    return re.sub(r"_stage(\d+)$", r", stage \1", loss.removeprefix("loss_")).replace("_", " ")


def loss_curves(runs: Iterable[TrainingRun]) -> Picture | None:
    """The curves of one task's runs; None if nothing was logged.

    Args:
        runs: Runs of one name are seeds of one method; their mean is drawn.
    """
    methods: defaultdict[str, list[TrainingRun]] = defaultdict(list)
    for run in runs:
        methods[run.name].append(run)
    first = next(run for seeds in methods.values() for run in seeds)
    task = first.task or "model"
    tasks = {
        name: [loss for loss in losses_of(seeds[0]) if loss not in terms_of(seeds[0])]
        for name, seeds in methods.items()
    }
    of_task = Chart(f"{task} loss", [
        Line(name, _mean(seeds, partial(_sum, tasks[name])), colour)
        for colour, (name, seeds) in enumerate(methods.items())
    ])  # fmt: skip
    of_method = Chart("weighted terms of the method", [
        Line(f"{name}: {term_name(term)}", _mean(seeds, partial(_sum, [term])), colour, dash)
        for colour, (name, seeds) in enumerate(methods.items())
        for dash, term in enumerate(terms_of(seeds[0]))
    ])  # fmt: skip
    metric = next((key for seeds in methods.values() for run in seeds for key in run.result), "")
    evaluated = Chart(f"{metric}, evaluated", [
        Line(name, _mean(seeds, _first_metric, "metrics"), colour)
        for colour, (name, seeds) in enumerate(methods.items())
    ])  # fmt: skip
    charts = [of_task, of_method]
    if any(len(line.points) > 1 for line in evaluated.drawn()):
        charts.append(evaluated)
    if not any(chart.drawn() for chart in charts):
        return None
    names = list(dict.fromkeys(loss for own in tasks.values() for loss in own))
    means = " Means over seeds." if any(len(seeds) > 1 for seeds in methods.values()) else ""
    parts = f" The {task} loss is {'the sum of ' * (len(names) > 1)}{', '.join(names)}." if names else ""
    return curves(charts, f"As logged during training: means over the last iterations.{means}{parts}")


def _first_metric(entry: Mapping[str, Any]) -> float | None:
    return next(run_values(entry), None)


def _sum(names: Sequence[str], entry: Mapping[str, Any]) -> float | None:
    values = [entry[name] for name in names if name in entry]
    return sum(values) if values else None


def _mean(
    seeds: Sequence[TrainingRun], value: Callable[[Mapping[str, Any]], float | None], entries: str = "training"
) -> dict[float, float]:
    """Step -> mean over the seeds with a value at that step."""
    found: defaultdict[float, list[float]] = defaultdict(list)
    for run in seeds:
        for entry in getattr(run, entries):
            number = value(entry)
            if number is not None and "step" in entry:
                found[entry["step"]].append(number)
    return {step: statistics.fmean(numbers) for step, numbers in sorted(found.items())}
