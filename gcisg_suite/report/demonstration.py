"""A task's part of the demonstration: baseline and GCISG on the miniature, side by side."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from gcisg_core.shell import gcisg_command
from gcisg_suite.miniature import scenes
from gcisg_suite.progress import named
from gcisg_suite.tasks import TASKS

from .losses import loss_curves
from .page import Picture, Section
from .runs import TrainingRun, details, read_run
from .seeds import table, verdicts

CONFIGS = {"baseline": "baseline_mini", "GCISG": "gcisg_mini"}
SPLIT = "the miniature's test split"
DIGITS = {name: str(digit) for digit, (name, _) in scenes.CLASSES.items()}  # class of the scenes -> what plays it


def read_both(runs: Path) -> dict[str, TrainingRun]:
    """The two runs of a task, whose data are those of the test split, on which the demonstration evaluates them.

    Args:
        runs: Folder of the task's runs.

    Raises:
        FileNotFoundError: one is missing.
    """
    read = {name: read_run(runs / config, name) for name, config in CONFIGS.items()}
    return {name: replace(run, measured_by="test_dataloader") for name, run in read.items()}


@dataclass(frozen=True)
class Demonstration:
    """A task's texts for the demonstration.

    Attributes:
        task: Its name.
        title: Title of the section.
        text: What was trained on and what was evaluated on.
        metrics: Metric of a run -> its name on the page.
        panel: The picture of what the runs predict.
    """

    task: str
    title: str
    text: str
    metrics: Mapping[str, str]
    panel: Callable[[Mapping[str, TrainingRun]], Picture]

    def section(self, runs: Path, overrides: Sequence[str] = ()) -> Section:
        """Train both models and evaluate them on the test split.

        Args:
            runs: Folder of the runs; a finished run is not repeated.
            overrides: Overrides of both configs.
        """
        row = TASKS[self.task]
        run = row.door("mini")
        results: dict[str, Any] = {}
        for name, config in CONFIGS.items():
            with named(name):
                results[name] = run(config, ["test"], runs / config, overrides)
        read = read_both(runs)
        compared = {name: [result["test"]] for name, result in results.items()}
        columns, rows = table(compared, self.metrics)
        metric = next(iter(self.metrics))
        losses, pictures = loss_curves(read.values()), self.panel(read)
        pictures.caption += f" From {SPLIT}, like the table."
        took = ", ".join(f"{name} {result['seconds']:.0f} s" for name, result in results.items())
        return Section(
            title=self.title,
            text=[
                self.text,
                f"The table and the pictures show {SPLIT}.",
                f"One seed, {read['GCISG'].steps} iterations each; {took}. Means over seeds, with intervals, are in "
                "docs/results.md.",
            ],
            columns=columns,
            rows=rows,
            pictures=[*([losses] if losses else []), pictures],
            commands=[
                gcisg_command("train", "--config", f"projects/{self.task}/{config}{row.suffix}")
                for config in CONFIGS.values()
            ],
            **details({name: [run] for name, run in read.items()}),
            verdicts=verdicts(compared, metric, self.metrics[metric].removesuffix(" %")),
            split=SPLIT,
            name=self.task.capitalize(),
        )
