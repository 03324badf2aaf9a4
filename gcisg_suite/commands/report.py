"""`gcisg report`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from gcisg_suite.commands.arguments import Flag, Several, UsageError, check_exists


def report(
    run: Path,
    /,
    *runs: Path,
    names: Annotated[list[str] | None, Several] = None,
    output: Path = Path("report.html"),
    title: str = "From synthetic to real images",
    trust: Flag = False,
) -> None:
    """Compare runs of `gcisg train` on one HTML page, which works offline.

    For example:

        gcisg report work_dirs/baseline_mini work_dirs/gcisg_mini \\
            --output runs/report.html

    The runs of a task are compared with the first one. Pictures need a run's checkpoint and data, so start the command
    in the folder in which you trained.

    Args:
        run: Folder of a run.
        runs: Folders of other runs.
        names: Names of the runs, in the same order (default: those of their folders). Runs with the same name are taken
            as seeds of one method: the page shows their mean, and the paired difference to the first name with its
            95 % t-interval.
        output: HTML file to write.
        title: Title of the page.
        trust: For the pictures, also import modules that the runs' configs list and that belong neither to the suite
            nor to its frameworks.
    """
    folders = [run, *runs]
    called = names or [folder.name for folder in folders]
    if len(called) != len(folders):
        raise UsageError(f"--names: expected {len(folders)} names, one for each run, got {' '.join(called)}")
    if not names and len(set(called)) < len(called):
        raise UsageError(
            f"several folders are called {' '.join(called)}; give --names, with the same name for seeds of a method"
        )

    for folder in folders:
        check_exists("RUN", folder)

    from gcisg_suite.progress import loading, named, progress

    with loading("torch and matplotlib"):
        from gcisg_suite.report.page import write_report
        from gcisg_suite.report.runs import read_run
        from gcisg_suite.report.sections import section
        from gcisg_suite.report.seeds import labels

    pairs = list(zip(folders, called, strict=True))
    read = [read_run(folder, name, trust) for folder, name in progress(pairs, "reading", "run")]
    tasks = dict.fromkeys(found.task for found in read)
    sections = []
    for task in tasks:
        with named(task):
            found = [run for run in read if run.task == task]
            sections.append(section(task, dict(zip(labels([run.name for run in found]), found, strict=True))))
    print(write_report(output, title, sections))
