"""What the runs of a task say of themselves, as a section of a report; pictures where checkpoint and data are there."""

from __future__ import annotations

from collections.abc import Mapping

from gcisg_core.problems import reason
from gcisg_core.shell import command_line
from gcisg_suite.tasks import TASKS

from .page import Picture, Section, compare, duration
from .runs import TrainingRun, curves, details

TRAIN = ("python", "tools/train_net.py", "--config")


def panel(task: str, runs: Mapping[str, TrainingRun]) -> tuple[list[Picture], list[str]]:
    """The picture of a task, or a sentence that says why there is none."""
    if task not in TASKS:
        return [], []
    try:
        return [TASKS[task].door("panel")(runs)], []
    except Exception as error:  # whatever is wrong with checkpoint or data, the rest of the report is there
        return [], [f"No pictures: {reason(error)}"]


def section(task: str, runs: Mapping[str, TrainingRun]) -> Section:
    """What the runs of one task say of themselves."""
    first = next(iter(runs.values()))
    names = list(dict.fromkeys(key for run in runs.values() for key in run.result))
    results = {name: {key: run.result.get(key, float("nan")) for key in names} for name, run in runs.items()}
    columns, rows = compare(results, {key: key for key in names})
    pictures, reasons = panel(task, runs)
    return Section(
        title=(task or "Other models").capitalize(),
        text=[
            f"Trained on {first.data[0]}; evaluated on {first.data[1]}.",
            *(
                f"{name} is trained on {run.data[0]} and evaluated on {run.data[1]}, unlike {first.name}."
                for name, run in runs.items()
                if run.data != first.data
            ),
            "Training took "
            + ", ".join(f"{duration(run.seconds)} for {run.steps} iterations ({name})" for name, run in runs.items())
            + ", by the times that were logged.",
            *(f"{name} has no evaluation." for name, run in runs.items() if not run.result),
            *reasons,
        ],
        columns=columns,
        rows=rows,
        pictures=[Picture(curves(runs), "As logged in training, means of the last iterations.", chart=True), *pictures],
        commands=[command_line(*TRAIN, run.config_file, "--work-dir", f"{run.folder}_again") for run in runs.values()],
        **details(runs),
    )
