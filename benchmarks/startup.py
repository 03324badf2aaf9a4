#!/usr/bin/env python
"""CPU seconds until a command is at work: help and usage errors, the doctor, and training's first step.

    python benchmarks/startup.py

The first step is that of `gcisg train` on the miniature (first: python tools/prepare_mini.py), from the start of the
process to the end of the optimiser's step, without the time in the data loader. Beside it stands what cannot be saved:
the imports of torch and of the task's framework alone.
"""

from __future__ import annotations

import os
import resource
import subprocess
import sys
import tempfile
from pathlib import Path

from _measure import write_table
from tabulate import tabulate

from gcisg_suite.cli import COMMANDS
from gcisg_suite.places import mini_root

WRONG = "--no-such-flag"
REPEATS = 3
# Task -> config, what its framework imports by itself, and how a test set is left out.
TRAINING = {
    "classification": ("projects/classification/gcisg_mini.py", "torch, torchvision, mmengine.runner"),
    "segmentation": ("projects/segmentation/gcisg_mini.py", "torch, torchvision, mmengine.runner, mmseg.apis"),
    "detection": ("projects/detection/gcisg_mini.yaml", "torch, gcisg_core.integrations.detectron2.compat, "
                  "detectron2.engine, detectron2.modeling, detectron2.model_zoo"),
}  # fmt: skip
TO_THE_FIRST_STEP = """
import os, sys, time
import torch
from torch.optim.optimizer import register_optimizer_step_post_hook
from torch.utils.data import dataloader

loading = 0.0
fetch = dataloader._BaseDataLoaderIter.__next__

def timed(self):
    global loading
    start = time.process_time()
    try:
        return fetch(self)
    finally:
        loading += time.process_time() - start

def stop(*_):
    os.write(2, f"\\nSECONDS {time.process_time() - loading}\\n".encode())
    os._exit(0)

dataloader._BaseDataLoaderIter.__next__ = timed
register_optimizer_step_post_hook(stop)
from gcisg_suite.cli import main
main(sys.argv[1:])
"""


def cpu_seconds(words: list[str]) -> float:
    """User and system time of a fresh process, the least of some."""
    times = []
    for _ in range(REPEATS):
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        subprocess.run([sys.executable, *words], capture_output=True, check=False)
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        times.append(after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime)
    return min(times)


def first_step(config: str) -> float:
    """CPU seconds of `gcisg train` to the end of the first step, the data loader excepted; the least of some."""
    times, one_thread = [], {**os.environ, "OMP_NUM_THREADS": "1"}
    for _ in range(REPEATS):
        with tempfile.TemporaryDirectory() as folder:
            words = ["train", "--config", config, "--output", f"{folder}/run"]
            command = [sys.executable, "-c", TO_THE_FIRST_STEP, *words]
            done = subprocess.run(command, capture_output=True, text=True, check=True, env=one_thread)
        times.append(float(done.stderr.rpartition("SECONDS ")[2]))
    return min(times)


def main() -> None:
    command = ["-m", "gcisg_suite"]
    helps = [["(all)", cpu_seconds([*command, "--help"]), cpu_seconds([*command, "no-such-command"])]]
    helps += [[n, cpu_seconds([*command, n, "--help"]), cpu_seconds([*command, n, WRONG])] for n in COMMANDS]
    print(tabulate(helps, headers=("command", "--help (s)", "usage error (s)"), tablefmt="github", floatfmt=".2f"))
    if not mini_root().is_dir():
        sys.exit(f"{mini_root()} does not exist. First: python tools/prepare_mini.py")
    torch_alone = cpu_seconds(["-c", "import torch"])
    cpu_seconds([*command, "doctor"])  # what it found is kept
    rows: list[list[object]] = [["gcisg doctor, nothing wrong, again", cpu_seconds([*command, "doctor"]), None, None]]
    for task, (config, modules) in TRAINING.items():
        least, own = cpu_seconds(["-c", f"import {modules}"]), first_step(str(Path(config)))
        rows.append([f"gcisg train, first step, {task}", own, least, own / least])
    notes = (
        f"CPU seconds, the least of {REPEATS}. `import torch` alone takes {torch_alone:.2f} s. The first step ends "
        f"with the optimiser's; the time in the data loader is not in it."
    )
    write_table("startup", "Until a command is at work", rows, ["what", "s", "imports alone, s", "ratio"], notes)


if __name__ == "__main__":
    main()
