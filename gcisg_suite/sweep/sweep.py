"""`gcisg sweep`: trains and evaluates variants of a config over seeds, each run in a separate process."""

from __future__ import annotations

import multiprocessing
import os
import sys
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor, as_completed
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from tabulate import tabulate

from gcisg_core.files import replacing
from gcisg_core.lookup import choose
from gcisg_core.shell import gcisg_command
from gcisg_suite.prepare import prepare
from gcisg_suite.progress import progress
from gcisg_suite.tasks import TASKS

from .cluster import submit_all
from .run import Run, alone, append_runs, read_runs
from .variants import Variant, check_configs, read_sweep

# Of a plot's text and axes, for light and dark pages.
INKS = ("text.color", "axes.labelcolor", "axes.edgecolor", "xtick.color", "ytick.color")
GREY: dict[Any, str] = dict.fromkeys(INKS, "#808080")


def check_runs(runs: Sequence[dict[str, Any]], variants: dict[str, Variant], path: Path) -> None:
    """Check that earlier runs have the settings that the sweep states. Prints a note if their configs differ.

    Raises:
        ValueError: a variant of the sweep has other settings now.
    """
    hashes: dict[str, set[str]] = {}
    for entry in runs:
        name = entry["variant"]
        asked = variants.get(name, Variant(entry.get("config", ""), entry.get("overrides", [])))
        for key, value in asked._asdict().items():
            if entry.get(key, value) != value:
                raise ValueError(
                    f"{path}: {name!r}, seed {entry['seed']}, was run with the {key} {entry[key]}, but the sweep has "
                    f"{value}. Remove its lines, or give the variant another name"
                )
        if "hash" in entry:
            hashes.setdefault(name, set()).add(entry["hash"])
    for name, found in hashes.items():
        if len(found) > 1:
            mixed = f"{len(found)} different configs, which its mean mixes: {found}"
            print(f"{path}: {name!r} was run with {mixed}", file=sys.stderr)


def finished_runs(path: Path, split: str) -> tuple[str, list[dict[str, Any]]]:
    """Task of a sweep, and the runs that are kept beside it, in its order; none before it was run.

    Raises:
        FileNotFoundError: there is no such sweep.
        ValueError: a variant has other settings than when it was run.
    """
    task, variants = read_sweep(path)
    lines = path.with_name(f"{path.stem}_{split}.jsonl")
    runs = read_runs(lines)
    check_runs(runs, variants, lines)
    return task, in_order(runs, variants, split)


def in_order(runs: Sequence[dict[str, Any]], variants: dict[str, Variant], split: str) -> list[dict[str, Any]]:
    """The runs that were evaluated on this split, in the order of the sweep's variants."""
    order = list(variants)
    found = [entry for entry in runs if entry["variant"] in variants and split in entry]
    return sorted(found, key=lambda entry: order.index(entry["variant"]))


def metrics_of(task: str, runs: Sequence[dict[str, Any]], split: str) -> list[str]:
    """The task's metrics that all runs have; the first one is used for comparisons."""
    return [key for key in TASKS[task].metrics if all(key in entry[split] for entry in runs)]


def table(runs: Sequence[dict[str, Any]], split: str, metrics: Sequence[str]) -> Iterator[list[str]]:
    """Rows of the printed table: one for each variant, in the order of the runs."""
    for variant, paired in differences(runs, split, metrics[0]).items():
        own = {entry["seed"]: entry[split] for entry in runs if entry["variant"] == variant}
        row = [variant, str(len(own))]
        for key in metrics:
            numbers = np.array([found[key] for found in own.values()])
            spread = f" ± {numbers.std(ddof=1):.2f}" if len(numbers) > 1 else ""
            row.append(f"{numbers.mean():.2f}{spread}")
        row.append(with_interval(paired) if len(paired) else "")
        yield row


def differences(runs: Sequence[dict[str, Any]], split: str, metric: str) -> dict[str, np.ndarray]:
    """Variant -> its difference to the first one at each seed that both have."""
    values: dict[str, dict[int, float]] = {}
    for entry in runs:
        values.setdefault(entry["variant"], {})[entry["seed"]] = entry[split][metric]
    first = next(iter(values.values()), {})
    return {
        variant: np.array([seeds[seed] - first[seed] for seed in sorted(seeds.keys() & first.keys())])
        for variant, seeds in values.items()
    }


def interval(differences: np.ndarray) -> tuple[float, float] | None:
    """The 95 % interval (Student's t) of the mean; None if there are fewer than two differences, or all are equal."""
    if len(differences) < 2 or differences.std() == 0:
        return None
    from scipy import stats  # imported late: it is slow, and often not needed

    low, high = stats.t.interval(0.95, len(differences) - 1, differences.mean(), stats.sem(differences))
    return float(low), float(high)


def with_interval(differences: np.ndarray) -> str:
    """The mean with its interval, if there is one."""
    mean, ends = f"{differences.mean():+.2f}", interval(differences)
    return mean if ends is None else f"{mean} [{ends[0]:+.2f}, {ends[1]:+.2f}]"


def draw(runs: Sequence[dict[str, Any]], split: str, metric: str, path: Path) -> None:
    """Plot a dot for each run and a bar at each variant's mean, in the order of the table, for light and dark pages."""
    from matplotlib import rc_context
    from matplotlib.figure import Figure

    names = [*dict.fromkeys(entry["variant"] for entry in runs)]
    with rc_context(GREY):
        figure = Figure(figsize=(7, 0.8 + 0.4 * len(names)))
        axis = figure.subplots()
        for row, name in enumerate(names):
            numbers = [entry[split][metric] for entry in runs if entry["variant"] == name]
            axis.plot(numbers, [row] * len(numbers), "o", color="#2e8fd6", alpha=0.7)
            axis.plot([np.mean(numbers)] * 2, [row - 0.3, row + 0.3], color="#d55e00", linewidth=2)
        axis.set(yticks=range(len(names)), yticklabels=names, xlabel=f"{metric}, {split} split")
        axis.invert_yaxis()
        axis.grid(axis="x", alpha=0.3)
        with replacing(path) as partial:
            figure.savefig(partial, dpi=110, bbox_inches="tight", transparent=True)


def _context(modules: Iterable[str]) -> multiprocessing.context.BaseContext:
    """How processes are started: as forks of a process that has already imported the modules.

    With a GPU, each process starts fresh: the frameworks initialise CUDA on import, and torch then refuses to use it in
    a fork.
    """
    import torch

    if torch.cuda.is_available():
        return multiprocessing.get_context("spawn")
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload([__name__, *modules])
    return context


def _run_all(runs: Sequence[Run], out: Path, jobs: int) -> list[str]:
    """Run each in a separate process; returns a line for each failed run, with the reason."""
    doors = {("mini" if run.variant.is_mini else "paper", run.task) for run in runs}
    context = _context({TASKS[task].place(door).partition(":")[0] for door, task in doors})

    def isolated(run: Run) -> dict[str, Any]:
        with ProcessPoolExecutor(1, mp_context=context) as process:
            return process.submit(alone, run).result()

    failed = []
    with ThreadPoolExecutor(jobs) as pool:
        futures = {pool.submit(isolated, run): run for run in runs}
        for future in progress(as_completed(futures), "training and evaluating", "run", len(futures)):
            error = future.exception()
            if error:
                failed.append(f"{futures[future].name}, seed {futures[future].seed}: {error}")
            else:
                append_runs(out, [future.result()])
    return failed


@dataclass
class Options:
    """The options of `gcisg sweep`, named like its flags."""

    file: Path
    config: Path | None = None
    scale: str = "mini"
    seeds: Sequence[int] = (0,)
    split: str | None = None
    output: Path | None = None
    jobs: int | None = None
    only: Sequence[str] = ()
    dry_run: bool = False
    collect: Path | None = None
    plot: Path | None = None
    launcher: str | None = None
    job_options: Sequence[str] = ()


def sweep(args: Options) -> None:
    """Run the sweep, print its commands, or collect its results, depending on the options.

    Raises:
        ValueError: a variant or the split does not exist, or the output belongs to another sweep.
        FileNotFoundError: the sweep's file does not exist.
    """
    task, variants = read_sweep(args.file, args.scale, args.config)
    check_configs(args.file, task, variants)
    mini = all(variant.is_mini for variant in variants.values())
    split = args.split or ("dev" if mini else "test")
    if split == "dev" and not mini:
        raise ValueError("--split dev: only the miniature has a dev split; the papers' data have one test set")
    given = ["--sweep", args.file, *(["--config", args.config] if args.config else []), "--scale", args.scale]
    parts = [
        args.file.stem,
        *([args.config.stem] if args.config else []),
        *(["paper"] if args.scale == "paper" else []),
    ]
    name = "_".join([*parts, split])
    out = args.output or args.file.with_name(f"{name}.jsonl")
    for only in args.only:
        choose(variants, only, f"variant of {args.file}")
    check_runs(read_runs(out), variants, out)
    if args.collect:
        for path in sorted(args.collect.glob("*.jsonl")):
            append_runs(out, read_runs(path))
    done = {(entry["variant"], entry["seed"]) for entry in read_runs(out)}
    names = [*args.only] or [*variants]
    todo = [(name, seed) for seed in args.seeds for name in names if (name, seed) not in done]
    if args.dry_run:
        for number, (variant, seed) in enumerate(todo):
            rest = ["--seeds", seed, "--split", split, "--only", variant, "--jobs", 1]
            rest += ["--output", f"{out.stem}.{number}.jsonl"]
            print(gcisg_command("sweep", *given, *rest))
        if args.launcher and todo:
            print(f"Without --dry-run, --launcher {args.launcher} submits these as {len(todo)} jobs", file=sys.stderr)
        elif todo:
            goal = ["--output", args.output] if args.output else []
            collect = gcisg_command("sweep", *given, "--split", split, *goal, "--collect", ".")
            print(f"When all of these have ended, collect their results in the same folder: {collect}", file=sys.stderr)
        return
    failed = []
    if not args.collect:
        work = f"runs/sweeps/{task}/{name}"
        missing = [Run(task, variant, variants[variant], seed, split, work) for variant, seed in todo]
        if any(run.variant.is_mini for run in missing):
            prepare([task])
        jobs = args.jobs or (os.cpu_count() or 1 if mini else 1)
        if args.launcher:
            jobs = args.jobs or len(missing) if args.launcher == "slurm" else jobs
            failed = submit_all(missing, out, args.launcher, jobs, args.job_options)
        else:
            failed = _run_all(missing, out, jobs)
    runs = in_order(read_runs(out), variants, split)
    metrics = metrics_of(task, runs, split)
    heads = ["variant", "seeds", *metrics, f"{metrics[0]}, difference from the first, 95 %"]
    print(tabulate(table(runs, split, metrics), headers=heads, tablefmt="github", disable_numparse=True))
    if args.plot:
        draw(runs, split, metrics[0], args.plot)
    if failed:
        sys.exit("\n".join([f"Failed runs: {len(failed)}. To try them again, run the same command", *failed]))
