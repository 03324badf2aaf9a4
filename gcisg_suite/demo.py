"""The demonstration: baseline and GCISG trained on the miniature benchmark, a table and a page."""

from __future__ import annotations

import time
from collections.abc import Sequence
from pathlib import Path

import torch
from tabulate import tabulate

from gcisg_suite.prepare import prepare
from gcisg_suite.report.page import Section, write_report
from gcisg_suite.tasks import TASKS


def demonstrate(out: Path, tasks: Sequence[str]) -> None:
    """Train, print and write `report.html`; finished runs are kept."""
    start = time.perf_counter()
    sections: list[Section] = []
    for task in tasks:
        prepare([task])
        sections.append(TASKS[task].door("demo")(out / task))
        # After each task, so that what is done can be read while the next one trains.
        report = write_report(out / "report.html", "GCISG: from synthetic to real images, in miniature", sections)
    print("\n".join(f"\n{s.title}\n{tabulate(s.rows, headers=s.columns)}" for s in sections))
    print(f"\nReport: {report} ({time.perf_counter() - start:.0f} s, {torch.get_num_threads()} threads)")
