"""A training step over its floor, in every task, in pairs of steps, and where the difference goes.

The floor is a step of the framework's own model with the same optimiser, and the passes of the backbone that the method
cannot do without: the reference's with BatchNorm folded, its cheapest form. A method's own arithmetic (projectors,
losses, moving average, penalty) is not in the floor, although no implementation can leave it out; the second table
shows it. Most of it takes as long for small images as for large ones, so the ratio falls as a step gets longer: a task
is measured at its recipe's size where the time allows it.

    python benchmarks/step_cost.py --tasks segmentation --methods weight_l2 si --batch 16 --size 64
"""

from __future__ import annotations

import argparse
import gc
import statistics

import torch
from _floor import PASSES, floor_of
from _measure import Watch, best_device, write_table
from _tasks import RECIPES, TASKS, Size, Trainer, settings_of
from tabulate import tabulate

DEVICE = best_device()
# Edges of square images. 224 is the recipe's; the others' (512, and 736 x 1333) would take hours on one thread.
EDGES = {"classification": 224, "segmentation": 64, "detection": 128}
# Part of a step -> the functions of the regularizer that make it up.
PARTS = {
    "passes beside the task's": ("_run_others", "tap.run", "reference.forward", "momentum_encoder.forward"),
    "the method's terms": ("forward",),
    "of them, loss over the queue": ("_relate",),
    "after the step": ("after_optimizer_step",),
    "before the step": ("before_optimizer_step",),
}


def trainers(task: str, method: str, size: Size, watches: tuple[Watch, Watch]) -> list[Trainer]:
    """The floor's and the method's."""
    config, overrides = RECIPES[task]
    made = []
    for watch, own in zip(watches, (None, settings_of(method)), strict=True):
        torch.manual_seed(0)
        step = TASKS[task](config, size, DEVICE, own, plain=own is None, overrides=overrides)
        if own is None:
            step = step._replace(losses=watch.timed("the task's forward pass", step.losses))
            step = floor_of(step, method)
            step = step._replace(losses=watch.timed("passes beside the task's", step.losses))
        else:
            for part, names in PARTS.items():
                for name in names:
                    watch.watch(step.model.regularizer, name, part)
            step = step._replace(losses=watch.timed("the task's forward pass", step.losses))
        trainer = Trainer(step)
        watch.watch(trainer, "backward", "backward pass")
        watch.watch(trainer, "update", "optimiser")
        made.append(trainer)
    return made


def measure(task: str, method: str, size: Size, pairs: int) -> tuple[list[object], list[list[object]]]:
    """The row of the first table and those of the second."""
    watches = Watch(DEVICE), Watch(DEVICE)
    both = trainers(task, method, size, watches)
    history: list[list[dict[str, float]]] = [[], []]
    for pair in range(-1, pairs):  # the first, which copies weights, does not count
        for which in (0, 1) if pair % 2 else (1, 0):
            both[which]()
            seconds = watches[which].reset()
            if pair >= 0:
                history[which].append(seconds)
    floors, steps = ([sum(seconds.values()) for seconds in runs] for runs in history)
    ratios = sorted(step / floor for floor, step in zip(floors, steps, strict=True))
    lower, middle, upper = statistics.quantiles(ratios, n=4)
    floor = statistics.median(floors)
    quartiles = f"{lower:.3f} to {upper:.3f}"
    row: list[object] = [task, str(size), method, floor, statistics.median(steps), middle, quartiles]
    parts = []
    for part in dict.fromkeys(name for runs in history for name in runs[0]):
        mine, other = (statistics.median(seconds.get(part, 0.0) for seconds in runs) for runs in history[::-1])
        parts.append([task, method, part, 1000 * other, 1000 * mine, 100 * (mine - other) / floor])
    return row, parts


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--tasks", nargs="+", choices=list(TASKS), default=list(TASKS))
    parser.add_argument("--methods", nargs="+", choices=list(PASSES), default=list(PASSES))
    parser.add_argument("--batch", type=int, default=16)
    parser.add_argument("--size", type=int, help=f"edge of the images, at least 64; by default {EDGES}")
    parser.add_argument("--pairs", type=int, default=5, help="pairs of a step and its floor, at least 2")
    args = parser.parse_args()
    torch.set_num_threads(1)
    rows, parts = [], []
    for task in args.tasks:
        edge = args.size or EDGES[task]
        size = Size(args.batch, edge, edge)
        for method in args.methods:
            row, its_parts = measure(task, method, size, args.pairs)
            rows.append(row)
            parts += its_parts
            gc.collect()  # the watches form cycles with the models
    title = "A training step over its floor, ResNet-50"
    heads = ["task", "images", "method", "floor, s", "step, s", "step / floor", "quartiles"]
    part_heads = ["task", "method", "part", "floor, ms", "step, ms", "difference, % of the floor"]
    table = tabulate(parts, part_heads, tablefmt="github", floatfmt=".3g")
    notes = f"Medians of {args.pairs} pairs; the ratio is that of each pair."
    write_table("step_cost", title, rows, heads, f"{notes}\n\n{table}")


if __name__ == "__main__":
    main()
