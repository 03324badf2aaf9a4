"""Measure the design criteria of the miniature benchmark; they know nothing of the compared methods.

`python -m gcisg_suite.miniature.criteria` trains `baseline_mini` of each task on the synthetic images, on the same
shapes in the real look and on real images, and a head on the frozen reference network with real labels (a probe), and
prints a table. It evaluates on the dev split, and vanilla also on synthetic images of another seed, which shows whether
it learns its own domain. Four kinds, four seeds and three tasks are 48 runs of about a minute on one thread each;
finished ones in `--work-dir` are read.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
from functools import partial
from multiprocessing import get_context
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from tabulate import tabulate

from gcisg_suite.rows import load
from gcisg_suite.tasks import TASKS

SCORES = {"classification": "accuracy", "segmentation": "foreground_mIoU", "detection": "AP"}
# What is trained -> the images, and whether the reference network is frozen.
KINDS = {
    "vanilla": ("synthetic", False),
    "restyled": ("restyled", False),
    "real bound": ("real", False),
    "probe": ("real", True),
}

ON_SYNTHETIC = "vanilla on synthetic"  # its other score


class Criterion(NamedTuple):
    """A bound on a value that is made of the runs' scores (kind -> one for each seed)."""

    name: str
    low: float
    high: float
    value: Callable[[Mapping[str, np.ndarray]], float]

    @property
    def bounds(self) -> str:
        low, high = (f"{sign} {bound:g}" for sign, bound in ((">=", self.low), ("<=", self.high)))
        return " and ".join(text for text, bound in ((low, self.low), (high, self.high)) if np.isfinite(bound))


def difference(first: str, second: str, scores: Mapping[str, np.ndarray]) -> float:
    """Mean of the one less mean of the other."""
    return float(scores[first].mean() - scores[second].mean())


def share(of: str, scores: Mapping[str, np.ndarray]) -> float:
    """A score in percent of the real bound."""
    return float(100 * scores[of].mean() / scores["real bound"].mean())


def spread(scores: Mapping[str, np.ndarray]) -> float:
    """Standard deviation of vanilla over seeds; not a number for one seed."""
    return float(scores["vanilla"].std(ddof=1)) if len(scores["vanilla"]) > 1 else np.nan


CRITERIA = (
    Criterion("real bound - vanilla", 25, np.inf, partial(difference, "real bound", "vanilla")),
    Criterion("restyled - vanilla", 12, np.inf, partial(difference, "restyled", "vanilla")),
    Criterion("vanilla, % of the real bound", 15, 60, partial(share, "vanilla")),
    Criterion("vanilla, sd over seeds", -np.inf, 2, spread),
    Criterion("real bound - probe", -np.inf, 15, partial(difference, "real bound", "probe")),
    Criterion(f"{ON_SYNTHETIC}, % of the real bound", 90, np.inf, partial(share, ON_SYNTHETIC)),
)


def score(task: str, kind: str, seed: int, work_dir: Path) -> dict[str, float]:
    """Train and evaluate one run, or read what that gave: its score on dev, and vanilla's on synthetic images."""
    import torch

    torch.set_num_threads(1)
    row, (source, frozen) = TASKS[task], KINDS[kind]
    settings = {"REGULARIZER.METHOD" if row.framework.pairs else "model.regularizer.method": "oracle"} if frozen else {}
    folder = work_dir / task / f"{kind.replace(' ', '_')}_{seed}"
    splits = {kind: "dev", **({ON_SYNTHETIC: "synthetic"} if kind == "vanilla" else {})}
    overrides = row.framework.overrides(settings)
    result: Any = row.door("mini")("baseline_mini", [*splits.values()], folder, overrides, seed, source)
    return {name: float(result[split][SCORES[task]]) for name, split in splits.items()}


def measure(tasks: Sequence[str], seeds: Sequence[int], work_dir: Path, jobs: int) -> dict[str, dict[str, np.ndarray]]:
    """Task -> kind, or `ON_SYNTHETIC` -> the scores of the seeds."""
    for door in {door for task in tasks for door in TASKS[task].prepares.values()}:
        load(door)()
    plan = [(task, kind, seed) for task in tasks for kind in KINDS for seed in seeds]
    with ThreadPoolExecutor(jobs) as pool:
        found = dict(zip(plan, pool.map(partial(_isolated, work_dir), plan), strict=True))
    return {
        task: {
            name: np.array([found[task, kind, seed][name] for seed in seeds])
            for kind in KINDS
            for name in found[task, kind, seeds[0]]
        }
        for task in tasks
    }


def _isolated(work_dir: Path, run: tuple[str, str, int]) -> dict[str, float]:
    """A run in a process of its own: the frameworks keep registries of data sets and models."""
    with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as process:
        found = process.submit(score, *run, work_dir).result()
    print(f"{', '.join(map(str, run))}: {', '.join(f'{value:.1f}' for value in found.values())}", flush=True)
    return found


def table(found: Mapping[str, Mapping[str, np.ndarray]]) -> tuple[str, bool]:
    """The scores and the criteria in Markdown, and whether all criteria are met."""
    names = [*next(iter(found.values()))]
    kinds = [
        [task, *(f"{scores[name].mean():.1f} ({', '.join(f'{x:.1f}' for x in scores[name])})" for name in names)]
        for task, scores in found.items()
    ]
    rows, met = [], True
    for criterion in CRITERIA:
        values = [criterion.value(scores) for scores in found.values()]
        right = [criterion.low <= value <= criterion.high for value in values]
        cells = [f"{value:.1f}{'' if ok else ' (missed)'}" for value, ok in zip(values, right, strict=True)]
        rows.append([criterion.name, criterion.bounds, *cells])
        met &= all(right)
    first = tabulate(kinds, ["dev split", *names], tablefmt="github", disable_numparse=True)
    return f"{first}\n\n{tabulate(rows, ['criterion', 'bound', *found], tablefmt='github', disable_numparse=True)}", met


def main() -> None:
    """Command line; makes the data first where they are missing."""
    parser = argparse.ArgumentParser(description="Measure the design criteria of the miniature benchmark (dev split).")
    parser.add_argument("--tasks", nargs="+", choices=SCORES, default=[*SCORES], help="tasks to measure (all)")
    parser.add_argument("--seeds", type=int, default=4, help="number of seeds")
    parser.add_argument("--jobs", type=int, default=1, help="runs at once, each on one thread")
    parser.add_argument("--work-dir", type=Path, default=Path("runs/criteria"), help="where the runs are kept")
    arguments = parser.parse_args()
    text, met = table(measure(arguments.tasks, range(arguments.seeds), arguments.work_dir, arguments.jobs))
    print(f"\n{text}\n\n{'All criteria are met.' if met else 'Not all criteria are met.'}")


if __name__ == "__main__":
    main()
