#!/usr/bin/env python
"""Train baseline and GCISG on the miniature benchmark, print a table and write runs/demo/report.html.

Finished runs are kept: delete runs/demo to train again.
"""

from __future__ import annotations

import argparse
import importlib
import time
from pathlib import Path

import torch
from prepare_mini import TASKS, prepare
from tabulate import tabulate

from gcisg_analysis.report import Section, write_report

# Task -> the module with its <task>_section(runs).
MODULES = {"classification": "gcisg_cls.demo", "segmentation": "gcisg_seg.demo", "detection": "gcisg_det.demo"}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, default=Path("runs/demo"), help="where runs and report go")
    parser.add_argument("--tasks", nargs="+", choices=TASKS, default=TASKS, help="what to train (all)")
    args = parser.parse_args()

    start = time.perf_counter()
    sections: list[Section] = []
    for task in args.tasks:
        prepare([task])
        section = getattr(importlib.import_module(MODULES[task]), f"{task}_section")(args.out / task)
        sections.append(section)
        # After each task, so that what is done can be read while the next one trains.
        report = write_report(args.out / "report.html", "GCISG: from synthetic to real images, in miniature", sections)
    print("\n".join(f"\n{s.title}\n{tabulate(s.rows, headers=s.columns)}" for s in sections))
    print(f"\nReport: {report} ({time.perf_counter() - start:.0f} s, {torch.get_num_threads()} threads)")


if __name__ == "__main__":
    main()
