"""A report's section about the runs of a task, with pictures if checkpoint and data are available."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping
from typing import Any

from gcisg_core.problems import reason
from gcisg_core.shell import gcisg_command
from gcisg_suite.progress import duration
from gcisg_suite.tasks import LAZY, TASKS

from .losses import loss_curves
from .page import Picture, Section
from .runs import TrainingRun, details
from .seeds import table, verdicts


def panel(task: str, runs: Mapping[str, TrainingRun]) -> tuple[list[Picture], list[str]]:
    """The picture of a task, or a sentence that says why there is none."""
    if task not in TASKS:
        return [], []
    try:
        return [TASKS[task].door("panel")(runs)], []
    except Exception as error:  # a fault of checkpoint or data must not cost the rest of the report
        return [], [f"No pictures: {reason(error)}"]


def section(task: str, runs: Mapping[str, TrainingRun]) -> Section:
    """The section about the runs of one task.

    Args:
        task: Its name; empty for a model of another kind.
        runs: By a unique label; runs of one name are seeds of one method.
    """
    first = next(iter(runs.values()))
    results: defaultdict[str, list[dict[str, float]]] = defaultdict(list)
    seeds: defaultdict[str, list[TrainingRun]] = defaultdict(list)
    for run in runs.values():
        results[run.name].append(run.result)
        seeds[run.name].append(run)
    names = list(dict.fromkeys(key for run in runs.values() for key in run.result))
    columns, rows = table(results, {key: key for key in names})
    shown = {name: of_name[0] for name, of_name in seeds.items()}  # one seed stands for its method
    pictures, reasons = panel(task, shown)
    losses = loss_curves(runs.values())
    return Section(
        title=(task or "Other models").capitalize(),
        text=[
            f"Trained on {first.data[0]}; evaluated on {first.data[1]}.",
            *(
                f"{label} is trained on {run.data[0]} and evaluated on {run.data[1]}, unlike {first.name}."
                for label, run in runs.items()
                if run.data != first.data
            ),
            *_training(runs),
            *(f"{label} was not evaluated." for label, run in runs.items() if not run.result),
            *reasons,
        ],
        columns=columns if rows else (),
        rows=rows,
        pictures=[*([losses] if losses else []), *pictures],
        commands=[
            gcisg_command("train", "--config", run.config_file, "--output", f"{run.folder}_again")
            for run in runs.values()
            if run.framework != LAZY.name  # its config is a program; the folder holds only the resulting values
        ],
        **details(seeds),
        **_outcome(task, results, first),
    )


def _training(runs: Mapping[str, TrainingRun]) -> list[str]:
    """The length of training, if it was logged."""
    logged = {label: run for label, run in runs.items() if run.training}
    took = [
        (f"{duration(run.seconds)} for " if run.seconds else "") + f"{run.steps} iterations ({label})"
        for label, run in logged.items()
    ]
    silent = [label for label in runs if label not in logged]
    return [
        *([f"Training took {', '.join(took)}, according to the logged times."] if took else []),
        *(f"{label} logged nothing during training: it ended before its first log interval." for label in silent),
    ]


def _outcome(task: str, results: Mapping[str, list[dict[str, float]]], first: TrainingRun) -> dict[str, Any]:
    """The verdicts in the task's first metric, and the data that was evaluated on."""
    if not first.result:
        return {"verdicts": [f"{first.name}: not evaluated, so there is nothing to say about it yet."]}
    wanted = TASKS[task].metrics[0] if task in TASKS else ""
    of_task = [key for key in first.result if wanted in key.split("/")]
    metric = wanted if wanted in of_task else next(iter(of_task or first.result))
    head = wanted if of_task else metric
    if len(of_task) > 1 and metric.endswith(f"/{wanted}"):  # several sets were evaluated
        head = f"{wanted} on {metric.partition('/')[0]}"
    return {"verdicts": verdicts(results, metric, head), "split": f"{first.data[1]} ({first.split})"}
