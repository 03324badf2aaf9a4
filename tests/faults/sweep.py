"""Runs that are killed and resumed, compared bit for bit with one that was not.

    python -m tests.faults.sweep --runs 20 --seed 7 --tasks classification segmentation detection

Each run trains a method on a few images with two loader workers. It is killed (SIGKILL) at a random moment, while it
writes a file, right before or after a file gets its name, in an evaluation, or after a step; resumed, killed again or
not, and compared once it has ended: checkpoint, optimiser, measures, files. A run that differs stays for a look.
"""

from __future__ import annotations

import argparse
import gc
import os
import random
import shutil
import signal
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import matplotlib.figure  # noqa: F401 - what a run loads late is loaded once, before the forks
import numpy as np
import sklearn.metrics  # noqa: F401
import torch
from mmengine.runner.loops import ValLoop

import gcisg_cls  # noqa: F401
import gcisg_det.engine  # noqa: F401
import gcisg_seg.mini
import gcisg_seg.registry  # noqa: F401
from gcisg_core.files import EARLIER
from gcisg_core.run_folder import checkpoint_number, checkpoints_in
from gcisg_core.safe_load import read_checkpoint
from gcisg_det.coco_evaluator import BoxEvaluator
from gcisg_suite.cli import main
from gcisg_suite.report.runs import read_run
from tests.test_own_data import MAKE
from tests.test_worker_errors import TASKS

STEPS, LONGEST = 6, 300  # iterations; seconds of a run
MMENGINE = [
    "model.regularizer.method=gcisg", "model.regularizer.queue_length=8", f"train_cfg.max_iters={STEPS}",
    "train_cfg.val_interval=3", "default_hooks.checkpoint.interval=2", "default_hooks.checkpoint.max_keep_ckpts=2",
    "default_hooks.logger.interval=1",
]  # fmt: skip
DETECTRON2 = {
    "MODEL.META_ARCHITECTURE": "SynToRealDetector", "REGULARIZER.METHOD": "gcisg", "REGULARIZER.QUEUE_LENGTH": 8,
    "SOLVER.MAX_ITER": STEPS, "SOLVER.STEPS": "(4,)", "SOLVER.CHECKPOINT_PERIOD": 2, "TEST.EVAL_PERIOD": 3,
    "SOLVER.BASE_LR": 1e-4,
}  # fmt: skip
OF_THE_CLOCK = ("time", "data_time", "memory", "eta_seconds", "rank_data_time")


def words(task: str, folder: Path, workers: int, resume: bool) -> list[str]:
    """The command line of a run."""
    if task == "detection":
        settings = {**DETECTRON2, "DATALOADER.NUM_WORKERS": workers}
        overrides = [str(word) for pair in settings.items() for word in pair]
    else:
        overrides = [*MMENGINE, f"train_dataloader.num_workers={workers}"]
        overrides += ["train_dataloader.persistent_workers=False"]
    given = ["train", "--config", TASKS[task][0], "--output", str(folder), "--seed", "3"]
    return [*given, *(["--resume"] if resume else []), "--", *overrides]


def end() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def after(place: Any, name: str, count: int, do: Callable[..., None] = lambda *_: end(), before: bool = False) -> None:
    """Let the `count`-th call of a function be the last thing that the process does."""
    whole, left = getattr(place, name), [count]

    def counted(*args: Any, **kwargs: Any) -> Any:
        left[0] -= 1
        if before and not left[0]:
            do(*args)
        result = whole(*args, **kwargs)
        if not before and not left[0]:
            do(*args)
        return result

    setattr(place, name, counted)


def halve(descriptor: int) -> None:
    """A file of which the second half has not reached the disk; of a log that is synced line by line, half a line."""
    path = Path(f"/proc/self/fd/{descriptor}").readlink()
    content = path.read_bytes()
    synced = content.rfind(b"\n", 0, -1) + 1 if path.name == "metrics.json" else 0
    os.truncate(path, (synced + len(content)) // 2)
    end()


def arm(kind: str, count: int) -> None:
    """Prepare this process's end."""
    if kind == "half a file":
        after(os, "fsync", count, halve, before=True)
    elif kind == "before a name":
        after(Path, "replace", count, before=True)
    elif kind == "after a name":
        after(Path, "replace", count)
    elif kind == "evaluation":
        after(ValLoop, "run_iter", count)
        after(BoxEvaluator, "process", count)
    elif kind == "step":
        after(torch.optim.SGD, "step", count)


# Where a run is killed -> up to which call.
KINDS = {"half a file": 6, "before a name": 6, "after a name": 6, "evaluation": 2, "step": STEPS, "moment": 1}


def start(
    task: str, folder: Path, workers: int, resume: bool, fate: tuple[str, int, float] | None
) -> tuple[int, float]:
    """A run in a fork, which has all modules already; returns its status, negative for a signal, and its seconds."""
    begun, pid = time.monotonic(), os.fork()
    if pid == 0:
        with (folder.parent / f"{folder.name}.log").open("ab", 0) as log:
            os.dup2(log.fileno(), 1)
            os.dup2(log.fileno(), 2)
        status = 1
        try:
            if fate:
                arm(*fate[:2])
            main(words(task, folder, workers, resume))
            status = 0
        except SystemExit as stopped:
            print(stopped.code, file=sys.stderr)
        except BaseException:
            sys.excepthook(*sys.exc_info())
        finally:
            sys.stdout.flush()
            sys.stderr.flush()
            os._exit(status)
    moment = fate[2] if fate and fate[0] == "moment" else LONGEST
    while not (ended := os.waitpid(pid, os.WNOHANG))[0]:
        if time.monotonic() - begun > moment:
            os.kill(pid, signal.SIGKILL)
        time.sleep(0.02)
    return os.waitstatus_to_exitcode(ended[1]), time.monotonic() - begun


def leaves(value: Any, path: str = "") -> Iterator[tuple[str, Any]]:
    """What must be equal in a checkpoint; not the times in its log, and not the run's name."""
    if isinstance(value, dict):
        for key, inner in value.items():
            if key not in ("message_hub", "run", "time", "cfg", "experiment_name"):
                yield from leaves(inner, f"{path}.{key}")
    elif isinstance(value, list | tuple):
        for key, inner in enumerate(value):
            yield from leaves(inner, f"{path}.{key}")
    else:
        yield path, value


def same(first: Any, second: Any) -> bool:
    if isinstance(first, torch.Tensor):
        return isinstance(second, torch.Tensor) and first.dtype == second.dtype and torch.equal(first, second)
    return type(first) is type(second) and (first == second or first != first)


def outcome(folder: Path) -> dict[str, Any]:
    """All that a finished run left, but for what is of the clock."""
    run = read_run(folder)
    training, measures = (
        [{key: value for key, value in entry.items() if key not in OF_THE_CLOCK} for entry in entries]
        for entries in (run.training, run.metrics)
    )
    found = {
        "checkpoint": read_checkpoint(max(checkpoints_in(folder), key=checkpoint_number)),
        "files": sorted(path.name for path in folder.glob("*.pth")),
        "half": [str(path) for pattern in ("*.partial*", EARLIER) for path in folder.rglob(pattern)],
        "training": training,
        "metrics": measures,
    }
    return dict(leaves(found))


def sweep(task: str, runs: int, chance: random.Random, root: Path) -> list[str]:
    """Kill and resume; returns a line for each run that ended otherwise than the whole one."""
    place = root / task
    for seed, name in enumerate(("synthetic", "real")):
        MAKE[task](place / "my" / name, np.random.default_rng(seed))
    file, text = TASKS[task]
    (place / file).write_text(text)
    os.chdir(place)
    status, seconds = start(task, place / "whole", 0, False, None)
    if status:
        return [f"{task}: the whole run ended with {status}, see {place}/whole.log"]
    expected = outcome(place / "whole")
    faults = []
    for number in range(runs):
        folder, fates = place / f"run{number}", []
        for _ in range(chance.randint(1, 3)):
            kind = chance.choice([*KINDS])
            fates.append((kind, chance.randint(1, KINDS[kind]), chance.uniform(0.1, 1.2) * seconds))
        for attempt, fate in enumerate([*fates, None]):
            status, _ = start(task, folder, 2, attempt > 0, fate)
            if status != -signal.SIGKILL:
                break
        said = f"{task} run {number} ({', '.join(f'{kind} {count}' for kind, count, _ in fates)})"
        if status:
            faults.append(f"{said}: ended with {status}, see {folder}.log")
            continue
        found = outcome(folder)
        wrong = [key for key in expected.keys() | found.keys() if not same(expected.get(key), found.get(key))]
        if wrong:
            faults.append(f"{said}: {len(wrong)} values differ, such as {sorted(wrong)[:3]}, see {folder}")
        else:
            shutil.rmtree(folder)
        print(f"{said}: {'DIFFERS' if wrong else 'equal'} after {attempt} kills", flush=True)
    return faults


def run() -> None:
    """The command."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--tasks", nargs="+", default=[*TASKS], choices=[*TASKS])
    parser.add_argument("--runs", type=int, default=10, help="of each task")
    parser.add_argument("--seed", type=int, default=0, help="of the kills")
    args = parser.parse_args()
    torch.set_num_threads(1)
    gc.freeze()  # mmengine collects garbage for each data set
    root, chance = Path(tempfile.mkdtemp(prefix="gcisg faults ")), random.Random(args.seed)
    faults = [fault for task in args.tasks for fault in sweep(task, args.runs, chance, root)]
    print(
        "\n".join([f"{len(faults)} of {args.runs * len(args.tasks)} runs ended otherwise than without a kill", *faults])
    )
    if faults:
        sys.exit(1)
    os.chdir("/")
    shutil.rmtree(root)


if __name__ == "__main__":
    run()
