#!/usr/bin/env python
"""All there is to say on a GPU, in one command of some minutes: python benchmarks/gpu.py --output runs/gpu

In order of value: the environment, the tests of the marker `gpu`, steps of none, CSG and GCISG at the papers' sizes
over their floors, the losses over the queue, the loaders, and further precisions. It needs no data, no weights, no
network, and no installation of this repository; docs/gpu.md says what else. With `--device cpu --tiny` the same code
runs on any machine, with numbers that mean nothing.

Each part is a process with its own time. What fails stands in the tables with its traceback, what does not fit is
listed, and `results.md` and `results.json` are rewritten after each row.
"""

from __future__ import annotations

import argparse
import multiprocessing
import os
import sys
import time
from multiprocessing.context import BaseContext
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
PLACES = [ROOT, *(ROOT / "projects").iterdir(), ROOT / "gcisg_suite" / "old_names", Path(__file__).parent]
sys.path[:0] = [str(place) for place in PLACES]

from _gpu_parts import PARTS  # noqa: E402
from _gpu_report import Report  # noqa: E402
from _gpu_run import Settings, run_part  # noqa: E402


def context_for(device: str) -> BaseContext:
    """On a GPU a part's process starts from nothing; elsewhere as a fork of one that has loaded the frameworks."""
    if device == "cuda":
        return multiprocessing.get_context("spawn")
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["torch", "gcisg_cls", "gcisg_seg.registry", "gcisg_det"])
    return context


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--output", "--out", type=Path, default=Path("runs/gpu"), help="folder of the tables")
    parser.add_argument("--minutes", type=float, default=8.0, help="after which it ends")
    parser.add_argument("--device", choices=["cuda", "cpu"], default="cuda")
    parser.add_argument("--tiny", action="store_true", help="the miniature's sizes, one step each")
    names = [part.name for part in PARTS]
    parser.add_argument("--parts", nargs="+", metavar="PART", choices=names, default=names, help=", ".join(names))
    args = parser.parse_args()
    if not args.minutes > 0:
        parser.error(f"--minutes {args.minutes}: expected a number above 0")
    return args


def main() -> int:
    args = arguments()
    start = time.monotonic()
    settings = Settings(args.device, args.tiny, start + 60 * args.minutes)
    args.output.mkdir(parents=True, exist_ok=True)
    log = args.output.resolve() / "log.txt"
    log.unlink(missing_ok=True)
    os.environ["PYTHONPATH"] = os.pathsep.join(sys.path[: len(PLACES)])  # for the processes of the parts and theirs
    os.environ.setdefault("MPLBACKEND", "Agg")
    os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")  # cuBLAS repeats its results only with it
    report, context = Report(args.output, args.device, args.tiny), context_for(args.device)
    for part in PARTS:
        if part.name not in args.parts:
            continue
        status, seconds = run_part(part, settings, log, context, report.add)
        report.close(part.name, status, seconds)
        print(f"{time.monotonic() - start:4.0f} s  {part.name}: {status} ({seconds:.0f} s)", flush=True)
    print(f"{report.headline()}: {args.output / 'results.md'}")
    return 1 if report.failed else 0


if __name__ == "__main__":
    sys.exit(main())
