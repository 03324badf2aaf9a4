"""A training step of every method in every task, in time and memory, over that of `none` and over its floor.

The floor counts what a method cannot do without, in passes of the backbone: 1 for a forward pass, 3 for a forward and
backward pass, counted while it trains. Its time is the step of `none` and a measured forward pass for each unit that is
more than those of `none`. Passes that end at an earlier stage count as whole ones.

    python benchmarks/methods.py --batch 8 --size 512              # a GPU; the defaults suit two CPU cores
    python benchmarks/methods.py --tasks detection --methods gcisg csg gcisg+bfloat16
"""

from __future__ import annotations

import argparse
import subprocess
import sys
from collections.abc import Iterator
from functools import partial

import torch
from _floor import counting
from _measure import best_device, medians, report_peak, write_table
from _tasks import RECIPES, TASKS, Size, settings_of

from gcisg_core.regularizers import METHODS

DEVICE = best_device()


class Steps:
    """A method in a task, and its steps."""

    def __init__(self, task: str, method: str, batch: int, size: int) -> None:
        torch.manual_seed(0)
        config, overrides = RECIPES[task]
        whole = Size(batch, size, size)
        step = TASKS[task](config, whole, DEVICE, settings_of(method), overrides=overrides)
        self.model, self.losses = step.model, step.losses
        trained = [parameter for parameter in self.model.parameters() if parameter.requires_grad]
        self.optimizer = torch.optim.SGD(trained, lr=1e-9)  # random weights must not diverge
        self.optimizer.register_step_pre_hook(lambda *_: self.model.regularizer.before_optimizer_step())
        self.images = torch.randn(batch, 3, size, size, device=DEVICE)

    def step(self) -> None:
        self.losses().backward()
        self.optimizer.step()
        self.optimizer.zero_grad()
        self.model.regularizer.after_optimizer_step()

    @torch.no_grad()
    def forward(self) -> None:
        self.model.regularizer.student(self.images)

    def passes(self) -> int:
        """Of one step, in units of a forward pass: of the student and of every network beside it."""
        self.step()  # the first step copies, and fills schedules
        counts: list[int] = []
        with counting(self.model, counts):
            self.step()
        return sum(counts)


def build_and_step(task: str, method: str, batch: int, size: int) -> None:
    steps = Steps(task, method, batch, size)
    for _ in range(3):
        steps.step()


def peak(task: str, method: str, size: list[str]) -> float:
    """MB at the peak of a process that makes three steps."""
    command = [sys.executable, __file__, "--peak", task, method, *size]
    return float(subprocess.run(command, capture_output=True, text=True, check=True).stdout.splitlines()[-1])


def rows_of(task: str, methods: list[str], args: argparse.Namespace) -> Iterator[list[object]]:
    size = ["--batch", str(args.batch), "--size", str(args.size)]
    memory = {method: peak(task, method, size) for method in methods}
    baseline = Steps(task, "none", args.batch, args.size)
    units = baseline.passes()
    for method in methods:
        steps = Steps(task, method, args.batch, args.size)
        passes = steps.passes()
        # In turn with the baseline: the machine's speed drifts.
        seconds = medians({"none": baseline.step, "forward": baseline.forward, method: steps.step}, args.runs)
        own, none = seconds[method], seconds["none"]
        floor = none + (passes - units) * seconds["forward"]
        yield [task, method, own, own / none, passes, floor / none, own / floor, memory[method] - memory["none"]]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--peak", nargs=2, metavar=("TASK", "METHOD"), help=argparse.SUPPRESS)
    parser.add_argument("--tasks", nargs="+", choices=list(TASKS), default=list(TASKS))
    choices = [*METHODS, *(f"{method}+bfloat16" for method in ("csg", "gcisg"))]  # their passes without gradients
    parser.add_argument("--methods", nargs="+", choices=choices, default=list(METHODS))
    parser.add_argument("--batch", type=int, default=2)
    parser.add_argument("--size", type=int, default=128, help="edge of the images, at least 64")
    parser.add_argument("--runs", type=int, default=3)
    args = parser.parse_args()
    if args.peak:
        three_steps = partial(build_and_step, *args.peak, args.batch, args.size)
        if DEVICE == "cuda":
            three_steps()
            print(torch.cuda.max_memory_allocated() / 2**20)
        else:
            report_peak(three_steps)
        return
    methods = ["none", *(method for method in args.methods if method != "none")]
    rows = [row for task in args.tasks for row in rows_of(task, methods, args)]
    heads = ["task", "method", "s / step", "of none", "passes", "floor of none", "of its floor", "MB over none"]
    title = f"A training step of every method, ResNet-50, batch {args.batch}, {args.size} x {args.size}"
    notes = (
        f"Passes of the backbone in units of a forward pass. Medians of {args.runs} runs in turn with `none`. "
        f"Memory: peak, above its imports, of a process of its own that builds the model and makes three steps."
    )
    write_table("methods", title, rows, heads, notes)


if __name__ == "__main__":
    main()
