#!/usr/bin/env python
"""Write one HTML page about runs of tools/train_net.py, which needs nothing else to be read.

    python tools/report.py work_dirs/baseline_mini work_dirs/gcisg_mini --out runs/report.html

The first run of a task is what the others are compared with. Pictures are drawn where a run's checkpoint and data are
there, so call it from the folder from which the runs were trained.
"""

from __future__ import annotations

import argparse
import importlib
import sys
from collections.abc import Mapping
from pathlib import Path

from gcisg_analysis.report import Picture, Section, compare, duration, write_report
from gcisg_analysis.runs import Run, curves, details, read_run

# Task -> the module with its panel(runs).
PANELS = {task: f"gcisg_{short}.panels" for task, short in
          (("classification", "cls"), ("segmentation", "seg"), ("detection", "det"))}  # fmt: skip


def panel(task: str, runs: Mapping[str, Run]) -> tuple[list[Picture], list[str]]:
    """The picture of a task, or a sentence that says why there is none."""
    if task not in PANELS:
        return [], []
    try:
        return [importlib.import_module(PANELS[task]).panel(runs)], []
    except (ImportError, OSError, ValueError) as error:
        return [], [f"No pictures: {' '.join(str(error).split())}"]


def section(task: str, runs: Mapping[str, Run]) -> Section:
    """What the runs of one task say of themselves."""
    first = next(iter(runs.values()))
    names = list(dict.fromkeys(key for run in runs.values() for key in run.result))
    results = {name: {key: run.result.get(key, float("nan")) for key in names} for name, run in runs.items()}
    columns, rows = compare(results, {key: key for key in names})
    pictures, reasons = panel(task, runs)
    return Section(
        title=(task or first.config["model"]["type"]).capitalize(),
        text=[
            f"Trained on {first.data[0]}; measured on {first.data[1]}.",
            *(
                f"{name} is trained on {run.data[0]} and measured on {run.data[1]}, unlike {first.name}."
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
        commands=[
            f"python tools/train_net.py --config {run.config_file} --work-dir {run.folder}_again"
            for run in runs.values()
        ],
        **details(runs),
    )


def main(argv: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("runs", nargs="+", type=Path, metavar="RUN", help="a work directory")
    parser.add_argument("--names", nargs="+", help="what to call the runs (default: their folders' names)")
    parser.add_argument("--out", type=Path, default=Path("report.html"), help="the page (default: report.html)")
    parser.add_argument("--title", default="From synthetic to real images", help="the page's title")
    args = parser.parse_args(argv)
    names = args.names or [folder.name for folder in args.runs]
    if len(names) != len(args.runs) or len(set(names)) < len(names):
        parser.error(f"--names: expected {len(args.runs)} different names, one for each run, got {' '.join(names)}")
    try:
        runs = [read_run(folder, name) for folder, name in zip(args.runs, names, strict=True)]
    except FileNotFoundError as error:
        sys.exit(f"error: {error}")
    tasks = dict.fromkeys(run.task for run in runs)
    sections = [section(task, {run.name: run for run in runs if run.task == task}) for task in tasks]
    print(write_report(args.out, args.title, sections))


if __name__ == "__main__":
    main()
