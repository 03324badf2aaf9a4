"""`gcisg new-project`."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Annotated

from cyclopts import Parameter

from gcisg_core.lookup import choose
from gcisg_suite.commands.arguments import NOT_GIVEN, DataOptions, Flag, UsageError, check_at_least
from gcisg_suite.new_project import Answers, ask, write_project
from gcisg_suite.tasks import TASKS

OFFERING = {name: task for name, task in TASKS.items() if "new_project" in task.doors}


def new_project(
    *,
    task: Annotated[str | None, Parameter(help=f"One of {', '.join(OFFERING)}.")] = None,
    synthetic: Path | None = None,
    real: Path | None = None,
    output: Path | None = None,
    force: Flag = False,
    json: Flag = False,
    workers: int = os.cpu_count() or 1,
    options: DataOptions = NOT_GIVEN,
) -> int:
    """Write two configs, a baseline and GCISG, that train on synthetic images of yours and are measured on real ones.

    For example:

        gcisg new-project --task classification --synthetic my/synthetic --real my/real --output my/project

    What is not given is asked for. The folders are audited first: each fault is a line with its file and what to do,
    and nothing is written while there is one, unless --force is given. docs/your_data.md describes the folders. Its
    options are those of `gcisg audit`, for both folders.

    Args:
        synthetic: Images with labels, to train on.
        real: Real images with labels, to measure on.
        output: Where the two configs go.
        force: Write the configs whatever the audit finds, and over those that you changed, of which a copy is kept.
        json: Print one JSON object, with every problem, in place of lines.
        workers: Processes (by default one a core).
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
    )
    goal = output or Path(ask("output", "Folder for the configs"))
    for name, folder in answers.folders.items():
        if not folder.is_dir():
            raise UsageError(f"--{name} {folder}: no such folder")
    try:
        return write_project(task, answers, goal, force, json)
    except OSError as error:
        raise ValueError(str(error)) from error
