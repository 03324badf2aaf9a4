#!/usr/bin/env python
"""Train and measure variants of a miniature config over seeds; one JSON line per finished run.

    python tools/sweep.py --grid projects/classification/sweeps/lambdas.yaml --seeds 0-1 --half dev

A grid file names the task, variants, each a config and overrides, and optionally a product of further overrides:

    task: classification
    variants: {GCISG: {config: gcisg_mini}}
    grid: {model.regularizer.lambda_ci: [0.0, 0.5]}

Runs that are in the output already are skipped, so a sweep that was stopped goes on where it was, a half-finished run
from its last checkpoint. The table gives mean and standard deviation over seeds, and the paired difference to the first
variant with its 95 % t-interval.

Elsewhere: `--dry-run` prints a command for each run that is missing, for a scheduler of any kind; `--collect DIR` takes
over what they wrote.
"""

from __future__ import annotations

import argparse
import hashlib
import importlib
import itertools
import json
import multiprocessing
import os
import platform
import re
import resource
import shlex
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor, as_completed
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
import yaml
from matplotlib.figure import Figure
from prepare_mini import prepare
from scipy import stats
from tabulate import tabulate
from tqdm import tqdm

from gcisg_core.lookup import choose, unknown_name


class Task(NamedTuple):
    """Where a task's `train_and_measure` is, and its measures; the first one is compared."""

    module: str
    measures: tuple[str, ...]


TASKS = {
    "classification": Task("gcisg_cls.mini", ("accuracy", "match_rate", "acc_in", "cka")),
    "segmentation": Task("gcisg_seg.mini", ("mIoU", "aAcc", "mAcc")),
    "detection": Task("gcisg_det.mini", ("AP", "AP50", "AP75")),
}


class Variant(NamedTuple):
    """A config by name, and its overrides as the task's framework takes them."""

    config: str
    overrides: list[str]


def read_grid(path: Path) -> tuple[str, dict[str, Variant]]:
    """The task, and name -> variant with the product of the grid included.

    Raises:
        ValueError: a key or the task is unknown.
    """
    content = yaml.safe_load(path.read_text())
    for key in content:
        if key not in ("task", "variants", "grid"):
            raise unknown_name(key, ("task", "variants", "grid"), f"key in {path}")
    task = content.get("task", "classification")
    choose(TASKS, task, f"task in {path}")
    grid = content.get("grid", {})
    variants = {}
    for name, variant in content["variants"].items():
        for values in itertools.product(*grid.values()):
            chosen = dict(zip(grid, values, strict=True))
            label = ", ".join([name, *(f"{key.rpartition('.')[2]} {value}" for key, value in chosen.items())])
            settings = {**variant.get("overrides", {}), **chosen}
            if task == "detection":
                overrides = [str(part) for setting in settings.items() for part in setting]
            else:
                overrides = [f"{key}={value}" for key, value in settings.items()]
            variants[label] = Variant(variant["config"], overrides)
    return task, variants


def read_runs(path: Path) -> list[dict[str, Any]]:
    """The finished runs; a last line that a kill cut short counts as not there."""
    lines = path.read_text().split("\n")[:-1] if path.is_file() else []
    return [json.loads(line) for line in lines]


def run(task: str, name: str, variant: Variant, seed: int, half: str, work: str) -> dict[str, Any]:
    """One run in a process of its own."""
    torch.set_num_threads(1)
    with open(os.devnull, "w") as nowhere:  # noqa: PTH123 - the log of each run is in its folder
        os.dup2(nowhere.fileno(), 1)
        os.dup2(nowhere.fileno(), 2)
    folder = Path(work) / re.sub("[^A-Za-z0-9.]+", "_", name) / f"seed_{seed}"
    module = importlib.import_module(TASKS[task].module)
    result = module.train_and_measure(variant.config, [half], folder, variant.overrides, seed)
    return {
        "variant": name,
        **variant._asdict(),
        "hash": hashlib.sha256(json.dumps([task, *variant]).encode()).hexdigest()[:8],
        "seed": seed,
        **result,
        "peak_mb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024,
        "versions": {"python": platform.python_version(), "torch": torch.__version__},
    }


def table(runs: Sequence[dict[str, Any]], half: str, measures: Sequence[str]) -> Iterator[list[str]]:
    """Rows of the printed table, the variants in the order of the runs' first appearance."""
    values: dict[str, dict[int, dict[str, float]]] = {}
    for entry in runs:
        if half in entry:
            values.setdefault(entry["variant"], {})[entry["seed"]] = entry[half]
    first = next(iter(values.values()), {})
    for variant, seeds in values.items():
        row = [variant, str(len(seeds))]
        for key in measures:
            numbers = np.array([found[key] for found in seeds.values()])
            spread = f" ± {numbers.std(ddof=1):.2f}" if len(numbers) > 1 else ""
            row.append(f"{numbers.mean():.2f}{spread}")
        common = sorted(seeds.keys() & first.keys())
        differences = np.array([seeds[s][measures[0]] - first[s][measures[0]] for s in common])
        if len(differences) > 1 and differences.std() > 0:
            low, high = stats.t.interval(0.95, len(differences) - 1, differences.mean(), stats.sem(differences))
            row.append(f"{differences.mean():+.2f} [{low:+.2f}, {high:+.2f}]")
        else:
            row.append(f"{differences.mean():+.2f}" if len(differences) else "")
        yield row


def draw(runs: Sequence[dict[str, Any]], half: str, measure: str, path: Path) -> None:
    """A dot a run and a bar at each variant's mean, in the order of the table."""
    names = [*dict.fromkeys(entry["variant"] for entry in runs if half in entry)]
    figure = Figure(figsize=(7, 0.8 + 0.4 * len(names)))
    axis = figure.subplots()
    for row, name in enumerate(names):
        numbers = [entry[half][measure] for entry in runs if entry["variant"] == name and half in entry]
        axis.plot(numbers, [row] * len(numbers), "o", color="#0072b2", alpha=0.5)
        axis.plot([np.mean(numbers)] * 2, [row - 0.3, row + 0.3], color="#d55e00", linewidth=2)
    axis.set(yticks=range(len(names)), yticklabels=names, xlabel=f"{measure}, {half} half")
    axis.invert_yaxis()
    axis.grid(axis="x", alpha=0.3)
    figure.savefig(path, dpi=110, bbox_inches="tight")


def parse_seeds(text: str) -> list[int]:
    first, _, last = text.partition("-")
    return list(range(int(first), int(last or first) + 1))


def _run_all(
    task: str, variants: dict[str, Variant], todo: list[tuple[str, int]], half: str, work: str, out: Path, jobs: int
) -> None:
    prepare([task])
    context = multiprocessing.get_context("spawn")

    def isolated(name: str, seed: int) -> dict[str, Any]:
        with ProcessPoolExecutor(1, mp_context=context) as process:
            return process.submit(run, task, name, variants[name], seed, half, work).result()

    with ThreadPoolExecutor(jobs) as pool, out.open("a") as lines:
        futures = [pool.submit(isolated, name, seed) for name, seed in todo]
        for future in tqdm(as_completed(futures), total=len(futures), desc="runs"):
            lines.write(json.dumps(future.result()) + "\n")
            lines.flush()


def _collect(folder: Path, out: Path, done: set[tuple[str, int]]) -> None:
    with out.open("a") as lines:
        for entry in (entry for path in sorted(folder.glob("*.jsonl")) for entry in read_runs(path)):
            if (entry["variant"], entry["seed"]) not in done:
                done.add((entry["variant"], entry["seed"]))
                lines.write(json.dumps(entry) + "\n")


def parse_args(argv: list[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--grid", type=Path, required=True, help="the YAML file of variants")
    parser.add_argument("--seeds", type=parse_seeds, default=[0], metavar="A-B", help="seeds, both included")
    parser.add_argument("--half", choices=("dev", "test"), default="dev", help="dev to choose settings, test to report")
    parser.add_argument("--out", type=Path, help="JSON lines (by default beside the grid: <grid>_<half>.jsonl)")
    parser.add_argument("--jobs", type=int, default=os.cpu_count(), help="runs at once, one thread each")
    parser.add_argument("--only", nargs="+", metavar="NAME", help="these variants alone")
    parser.add_argument("--dry-run", action="store_true", help="print a command for each missing run and stop")
    parser.add_argument("--collect", type=Path, metavar="DIR", help="take over the finished runs of DIR/*.jsonl")
    parser.add_argument("--plot", type=Path, metavar="FILE", help="draw the first measure of every run")
    return parser.parse_args(argv)


def main(argv: list[str] | None = None) -> None:
    args = parse_args(argv)
    out = args.out or args.grid.with_name(f"{args.grid.stem}_{args.half}.jsonl")

    task, variants = read_grid(args.grid)
    for name in args.only or ():
        choose(variants, name, f"variant of {args.grid}")
    done = {(entry["variant"], entry["seed"]) for entry in read_runs(out)}
    if args.collect:
        _collect(args.collect, out, done)
    names = args.only or [*variants]
    todo = [(name, seed) for seed in args.seeds for name in names if (name, seed) not in done]
    if args.dry_run:
        for number, (name, seed) in enumerate(todo):
            given = ["--grid", str(args.grid), "--seeds", str(seed), "--half", args.half, "--only", name]
            print(
                shlex.join(["python", "tools/sweep.py", *given, "--jobs", "1", "--out", f"{out.stem}.{number}.jsonl"])
            )
        return
    if not args.collect:
        _run_all(task, variants, todo, args.half, f"runs/sweeps/{task}/{args.grid.stem}_{args.half}", out, args.jobs)
    order = list(variants)
    runs = sorted((r for r in read_runs(out) if r["variant"] in variants), key=lambda r: order.index(r["variant"]))
    measures = TASKS[task].measures
    heads = ["variant", "seeds", *measures, f"{measures[0]} against the first, 95 %"]
    print(tabulate(table(runs, args.half, measures), headers=heads, tablefmt="github", disable_numparse=True))
    if args.plot:
        draw(runs, args.half, measures[0], args.plot)


if __name__ == "__main__":
    main()
