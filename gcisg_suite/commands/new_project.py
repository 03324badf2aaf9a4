"""`gcisg new-project`."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Annotated

from cyclopts import Parameter

from gcisg_core.lookup import choose
from gcisg_suite.commands.arguments import (
    NOT_GIVEN,
    DataOptions,
    Flag,
    Several,
    UsageError,
    check_at_least,
    check_folder,
)
from gcisg_suite.new_project import Answers, ask, write_project
from gcisg_suite.tasks import TASKS

FOLDERS = ("synthetic", "real")
OFFERING = {name: task for name, task in TASKS.items() if "new_project" in task.doors}


def new_project(
    *,
    task: Annotated[str | None, Parameter(help=f"One of {', '.join(OFFERING)}.")] = None,
    synthetic: Path | None = None,
    real: Path | None = None,
    output: Path | None = None,
    format: Annotated[list[str] | None, Several] = None,
    force: Flag = False,
    json: Flag = False,
    workers: int = os.cpu_count() or 1,
    options: DataOptions = NOT_GIVEN,
) -> int:
    """Write two configs, a baseline and GCISG, that train on your synthetic images and are evaluated on your real ones.

    For example:

        gcisg new-project --task classification --synthetic my/synthetic \\
            --real my/real --output my/project

    A folder may be in any format that docs/your_data.md lists (YOLO, Pascal VOC, KITTI, output of simulators, ...). The
    format is recognised, and the labels are converted once into OUTPUT/data. If you leave out --task, --synthetic,
    --real or --output, you are asked for it. The folders are audited first: each fault is one line with its file and
    what to do, and no config is written until all faults are fixed, unless you give --force. Finally, the commands to
    run next are printed. The options of `gcisg audit` apply to both folders; --classes chooses classes, in any format.

    Args:
        synthetic: Folder of synthetic images with labels, to train on.
        real: Folder of real images with labels, to evaluate on. Without labels everything works except the score.
        output: Folder to write the two configs to.
        format: Format of a folder that is not recognised: NAME, synthetic=NAME or real=NAME.
        force: Write the configs despite the audit's findings, and replace configs and data in OUTPUT that you changed;
            copies of those are kept.
        json: Print one JSON object with every problem instead of lines.
        workers: Number of processes (default: one per core).
    """
    check_at_least("--workers", workers)
    task = task or ask("task", f"Task ({', '.join(OFFERING)})")
    try:
        choose(OFFERING, task, "task")
    except ValueError as error:
        raise UsageError(f"--task: {error}") from error
    given = options.given(TASKS[task].data_options, f"--task {task}")
    answers = Answers(
        synthetic or Path(ask("synthetic", "Folder of the synthetic images, with labels")),
        real or Path(ask("real", "Folder of the real images, with labels")),
        given,
        workers,
        formats=formats_of(format or []),
        force=force,
    )
    answers.output = output or Path(ask("output", "Folder for the configs"))
    check_folder("--output", answers.output)
    for name, folder in answers.folders.items():
        if not folder.is_dir():
            raise UsageError(f"--{name} {folder}: no such folder")
        if answers.output.resolve().is_relative_to(folder.resolve()):
            raise UsageError(f"--output {answers.output} lies in --{name} {folder}, which is for data; name another")
    try:
        return write_project(task, answers, json)
    except OSError as error:
        raise ValueError(str(error)) from error


def formats_of(given: list[str]) -> dict[str, str]:
    """Folder -> format, of words NAME (for both) or FOLDER=NAME."""
    found: dict[str, str] = {}
    for word in given:
        folder, equals, name = word.rpartition("=")
        if equals and folder not in FOLDERS:
            raise UsageError(f"--format {word}: expected NAME, synthetic=NAME or real=NAME")
        found |= dict.fromkeys([folder] if equals else FOLDERS, name)
    return found
