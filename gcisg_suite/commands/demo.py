"""`gcisg demo`."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Annotated

from gcisg_core.lookup import choose
from gcisg_suite.commands.arguments import Flag, Several, UsageError
from gcisg_suite.rows import TaskSpec, not_installed
from gcisg_suite.tasks import TASKS


def demo(
    *,
    output: Path = Path("runs/demo"),
    tasks: Annotated[list[str] | None, Several] = None,
    picture: Path | None = None,
    verbose: Flag = False,
) -> None:
    """Train a baseline and GCISG on the miniature benchmark, print a table for each task, and write a report page.

    It needs no data and no GPU, and takes about eleven minutes on two cores. The page is runs/demo/report.html.

    Finished runs are kept: delete runs/demo to train again.

    Args:
        output: Folder of the runs and the report.
        tasks: Tasks to train (default: all whose framework is installed).
        picture: Also draw the test images on which baseline and GCISG differ, with counts over all of them, into this
            PNG file.
        verbose: Print the frameworks' logs instead of progress bars.
    """
    chosen = chosen_tasks(tasks, lambda task: "demo" in task.doors)

    from gcisg_suite.demo import demonstrate

    demonstrate(output, chosen, verbose, picture)


def chosen_tasks(given: list[str] | None, offers: Callable[[TaskSpec], bool]) -> list[str]:
    """The given tasks, or all that offer this and can run here."""
    try:
        asked = [choose(TASKS, name, "task") for name in given or ()]
    except ValueError as error:
        raise UsageError(f"--tasks: {error}") from error
    for task in asked:
        if not task.is_installed:
            raise UsageError(f"--tasks {task.name}: {not_installed(task.needs, task.install)}")
        if not offers(task):
            known = ", ".join(other.name for other in TASKS.values() if offers(other))
            raise UsageError(f"--tasks {task.name}: does not support this command; expected one of {known}")
    return [task.name for task in asked or TASKS.values() if task.is_installed and offers(task)]
