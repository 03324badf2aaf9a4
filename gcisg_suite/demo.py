"""The demonstration: baseline and GCISG trained on the miniature benchmark, a table and a page."""

from __future__ import annotations

import io
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, nullcontext, redirect_stdout
from pathlib import Path

import torch
from tabulate import tabulate

from gcisg_suite.prepare import prepare
from gcisg_suite.progress import named, training_bars
from gcisg_suite.report.demonstration import read_both
from gcisg_suite.report.differences import Differences, draw, save
from gcisg_suite.report.page import Section, write_report
from gcisg_suite.tasks import TASKS


def demonstrate(out: Path, tasks: Sequence[str], verbose: bool = False, picture: Path | None = None) -> None:
    """Train each task, print its table and write it to `report.html` as soon as it is there; finished runs are kept.

    Args:
        out: Where runs and report go.
        tasks: What to train.
        verbose: Show the frameworks' logs in the place of progress bars.
        picture: File of a picture of the test images on which baseline and GCISG differ; none by default.
    """
    start = time.perf_counter()
    sections: list[Section] = []
    differences: dict[str, Differences] = {}
    for task in tasks:
        with nullcontext() if verbose else _bars(), named(task):
            prepare([task])
            section = TASKS[task].door("demo")(out / task)
            if picture and "differences" in TASKS[task].doors:
                differences[section.name] = TASKS[task].door("differences")(read_both(out / task))
        sections.append(section)
        report = write_report(out / "report.html", "GCISG: from synthetic to real images, in miniature", sections)
        table = tabulate(section.rows, headers=section.columns)
        print("\n".join(["", section.title, table, *section.verdicts]), flush=True)
    if picture:
        print(f"\nPicture: {save(draw(differences), picture)}")
    print(f"\nReport: {report} ({time.perf_counter() - start:.0f} s, {torch.get_num_threads()} threads)")


@contextmanager
def _bars() -> Iterator[None]:
    """Progress in the place of logs, and of what evaluators print."""
    with training_bars(), redirect_stdout(io.StringIO()):
        yield
