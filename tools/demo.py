#!/usr/bin/env python
"""Train baseline and GCISG on the miniature benchmark, print a table and write runs/demo/report.html.

Finished runs are kept: delete runs/demo to train again.
"""

from __future__ import annotations

import argparse
import time
from pathlib import Path

import torch
from tabulate import tabulate

from gcisg_cls.demo import classification_section
from gcisg_miniature.report import write_report


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, default=Path("runs/demo"), help="where runs and report go")
    args = parser.parse_args()

    start = time.perf_counter()
    sections = [classification_section(args.out / "classification")]
    report = write_report(args.out / "report.html", "GCISG: from synthetic to real images, in miniature", sections)
    for section in sections:
        print(f"\n{section.title}\n{tabulate(section.rows, headers=section.columns)}")
    print(f"\nReport: {report} ({time.perf_counter() - start:.0f} s, {torch.get_num_threads()} threads)")


if __name__ == "__main__":
    main()
