"""Train and evaluate variants of a config over seeds, each run in a process of its own; `gcisg sweep`."""

from __future__ import annotations

import hashlib
import json
import multiprocessing
import os
import platform
import re
import resource
import sys
import threading
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor, as_completed
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from tabulate import tabulate

from gcisg_core.files import replacing, write_text
from gcisg_core.lookup import choose
from gcisg_core.shell import command_line
from gcisg_suite.prepare import prepare
from gcisg_suite.progress import progress
from gcisg_suite.tasks import TASKS, framework_of, read_config

from .variants import Variant, check_configs, read_sweep


def read_runs(path: Path) -> list[dict[str, Any]]:
    """The finished runs; a last line that a kill cut short counts as not there."""
    lines = path.read_text().split("\n")[:-1] if path.is_file() else []
    return [json.loads(line) for line in lines]


def append_runs(path: Path, runs: Iterable[dict[str, Any]]) -> None:
    """Adds lines, in the place of one that a kill cut short."""
    with path.open("ab+") as file:
        file.seek(0)
        file.truncate(file.read().rfind(b"\n") + 1)
        file.writelines(json.dumps(run).encode() + b"\n" for run in runs)


def run(task: str, name: str, variant: Variant, seed: int, split: str, work: str) -> dict[str, Any]:
    """One run in a process of its own; one that is finished is read, not repeated.

    Returns:
        The line of the run. ``seconds`` and ``peak_mb`` (MiB) are of its last start where it says ``resumed``.
    """
    import torch  # the frameworks are loaded where something is run: printing commands takes no time

    threading.Thread(target=_end_with_the_sweep, daemon=True).start()
    torch.set_num_threads(1)
    with open(os.devnull, "w") as nowhere:  # noqa: PTH123 - the log of each run is in its folder
        os.dup2(nowhere.fileno(), 1)
        os.dup2(nowhere.fileno(), 2)
    row = TASKS[task]
    file = row.folder / f"{variant.config}{row.suffix}"
    digest = config_hash(file, variant.overrides)  # in the folder's name: another config's run is no part of this one
    folder = Path(work) / re.sub("[^A-Za-z0-9.]+", "_", name) / f"seed_{seed}_{digest}"
    finished = folder / "run.json"
    if finished.is_file():
        line: dict[str, Any] = json.loads(finished.read_text())
        return line
    resumed = {"resumed": True} if folder.is_dir() else {}
    if variant.is_mini:
        result = row.door("mini")(variant.config, [split], folder, variant.overrides, seed)
    else:
        result = row.door("paper")(file, folder, variant.overrides, seed)
    gpu = {"gpu_peak_mb": torch.cuda.max_memory_allocated() >> 20} if torch.cuda.is_available() else {}
    line = {
        "variant": name,
        **variant._asdict(),
        "hash": digest,
        "seed": seed,
        **result,
        **resumed,
        "peak_mb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024,
        **gpu,
        "versions": {"python": platform.python_version(), "torch": torch.__version__},
    }
    write_text(finished, json.dumps(line))
    from joblib.externals.loky import get_reusable_executor

    # What made the run's data is idle now, and this process would wait five minutes for it to end by itself.
    get_reusable_executor().shutdown()
    return line


def _end_with_the_sweep() -> None:
    """A run that outlived a killed sweep would be in the way of the next one's."""
    parent = multiprocessing.parent_process()
    if parent:
        parent.join()
        os._exit(1)


def config_hash(file: Path, overrides: list[str]) -> str:
    """8 hexadecimal digits of a config's whole content, what it inherits included."""
    text = framework_of(file).as_text(read_config(file, overrides))
    return hashlib.sha256(text.encode()).hexdigest()[:8]


def check_runs(runs: Sequence[dict[str, Any]], variants: dict[str, Variant], path: Path) -> None:
    """What was run must be what the sweep says.

    Raises:
        ValueError: a variant has other settings now, or its runs differ in their configs.
    """
    hashes: dict[str, set[str]] = {}
    for entry in runs:
        name = entry["variant"]
        asked = variants.get(name, Variant(entry.get("config", ""), entry.get("overrides", [])))
        for key, value in asked._asdict().items():
            if entry.get(key, value) != value:
                raise ValueError(
                    f"{path}: {name!r}, seed {entry['seed']}, was run with the {key} {entry[key]}, the sweep says "
                    f"{value}. Remove its lines, or give the variant another name"
                )
        if "hash" in entry:
            hashes.setdefault(name, set()).add(entry["hash"])
    for name, found in hashes.items():
        if len(found) > 1:
            print(f"{path}: {name!r} was run with {len(found)} different configs: {found}", file=sys.stderr)


def in_order(runs: Sequence[dict[str, Any]], variants: dict[str, Variant], split: str) -> list[dict[str, Any]]:
    """The sweep's runs that were evaluated on this split, in its order."""
    order = list(variants)
    found = [entry for entry in runs if entry["variant"] in variants and split in entry]
    return sorted(found, key=lambda entry: order.index(entry["variant"]))


def metrics_of(task: str, runs: Sequence[dict[str, Any]], split: str) -> list[str]:
    """The task's metrics that every run has; the first one is compared."""
    return [key for key in TASKS[task].metrics if all(key in entry[split] for entry in runs)]


def table(runs: Sequence[dict[str, Any]], split: str, metrics: Sequence[str]) -> Iterator[list[str]]:
    """Rows of the printed table, the variants in the order of the runs' first appearance."""
    values: dict[str, dict[int, dict[str, float]]] = {}
    for entry in runs:
        values.setdefault(entry["variant"], {})[entry["seed"]] = entry[split]
    first = next(iter(values.values()), {})
    for variant, seeds in values.items():
        row = [variant, str(len(seeds))]
        for key in metrics:
            numbers = np.array([found[key] for found in seeds.values()])
            spread = f" ± {numbers.std(ddof=1):.2f}" if len(numbers) > 1 else ""
            row.append(f"{numbers.mean():.2f}{spread}")
        common = sorted(seeds.keys() & first.keys())
        differences = np.array([seeds[s][metrics[0]] - first[s][metrics[0]] for s in common])
        row.append(with_interval(differences) if len(differences) else "")
        yield row


def with_interval(differences: np.ndarray) -> str:
    """The mean, with its 95 % t-interval where the differences say something of it."""
    mean = f"{differences.mean():+.2f}"
    if len(differences) < 2 or differences.std() == 0:
        return mean
    from scipy import stats  # takes longer than all that goes before, and not every call comes here

    low, high = stats.t.interval(0.95, len(differences) - 1, differences.mean(), stats.sem(differences))
    return f"{mean} [{low:+.2f}, {high:+.2f}]"


def draw(runs: Sequence[dict[str, Any]], split: str, metric: str, path: Path) -> None:
    """A dot a run and a bar at each variant's mean, in the order of the table."""
    from matplotlib.figure import Figure

    names = [*dict.fromkeys(entry["variant"] for entry in runs)]
    figure = Figure(figsize=(7, 0.8 + 0.4 * len(names)))
    axis = figure.subplots()
    for row, name in enumerate(names):
        numbers = [entry[split][metric] for entry in runs if entry["variant"] == name]
        axis.plot(numbers, [row] * len(numbers), "o", color="#0072b2", alpha=0.5)
        axis.plot([np.mean(numbers)] * 2, [row - 0.3, row + 0.3], color="#d55e00", linewidth=2)
    axis.set(yticks=range(len(names)), yticklabels=names, xlabel=f"{metric}, {split} split")
    axis.invert_yaxis()
    axis.grid(axis="x", alpha=0.3)
    with replacing(path) as partial:
        figure.savefig(partial, dpi=110, bbox_inches="tight")


def _context(modules: Iterable[str]) -> multiprocessing.context.BaseContext:
    """How the process of a run starts: as a fork of one that has loaded its modules, so that it need not.

    With a GPU it starts from nothing: the frameworks look for one when loaded, and torch then refuses it to forks.
    """
    import torch

    if torch.cuda.is_available():
        return multiprocessing.get_context("spawn")
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload([__name__, *modules])
    return context


def _run_all(
    task: str, variants: dict[str, Variant], todo: list[tuple[str, int]], split: str, work: str, out: Path, jobs: int
) -> list[str]:
    """Run what is to do; returns what failed and why."""
    doors = {"mini" if variants[name].is_mini else "paper" for name, _ in todo}
    context = _context({TASKS[task].place(door).partition(":")[0] for door in doors})
    if "mini" in doors:
        prepare([task])

    def isolated(name: str, seed: int) -> dict[str, Any]:
        with ProcessPoolExecutor(1, mp_context=context) as process:
            return process.submit(run, task, name, variants[name], seed, split, work).result()

    failed = []
    with ThreadPoolExecutor(jobs) as pool:
        futures = {pool.submit(isolated, name, seed): f"{name}, seed {seed}" for name, seed in todo}
        for future in progress(as_completed(futures), "training and evaluating", "run", len(futures)):
            error = future.exception()
            if error:
                failed.append(f"{futures[future]}: {error}")
            else:
                append_runs(out, [future.result()])
    return failed


def _collect(folder: Path, out: Path, done: set[tuple[str, int]]) -> None:
    for entry in (entry for path in sorted(folder.glob("*.jsonl")) for entry in read_runs(path)):
        if (entry["variant"], entry["seed"]) not in done:
            done.add((entry["variant"], entry["seed"]))
            append_runs(out, [entry])


@dataclass
class Options:
    """What `gcisg sweep` is asked for, by the names of its flags."""

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


def sweep(args: Options) -> None:
    """Run, print or collect, as the arguments say.

    Raises:
        ValueError: the sweep, a variant or the split does not exist, or the output belongs to another sweep.
        FileNotFoundError: there is no such sweep.
    """
    task, variants = read_sweep(args.file, args.scale, args.config)
    check_configs(args.file, task, variants)
    mini = all(variant.is_mini for variant in variants.values())
    split = args.split or ("dev" if mini else "test")
    if split == "dev" and not mini:
        raise ValueError("--split dev: only the miniature has splits; the papers' data have one test set")
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
    runs = read_runs(out)
    check_runs(runs, variants, out)
    done = {(entry["variant"], entry["seed"]) for entry in runs}
    if args.collect:
        _collect(args.collect, out, done)
    names = [*args.only] or [*variants]
    todo = [(name, seed) for seed in args.seeds for name in names if (name, seed) not in done]
    if args.dry_run:
        for number, (variant, seed) in enumerate(todo):
            rest = ["--seeds", seed, "--split", split, "--only", variant, "--jobs", 1]
            rest += ["--output", f"{out.stem}.{number}.jsonl"]
            print(command_line("gcisg", "sweep", *given, *rest))
        return
    failed = []
    if not args.collect:
        jobs = args.jobs or (os.cpu_count() or 1 if mini else 1)
        failed = _run_all(task, variants, todo, split, f"runs/sweeps/{task}/{name}", out, jobs)
    runs = in_order(read_runs(out), variants, split)
    metrics = metrics_of(task, runs, split)
    heads = ["variant", "seeds", *metrics, f"{metrics[0]} against the first, 95 %"]
    print(tabulate(table(runs, split, metrics), headers=heads, tablefmt="github", disable_numparse=True))
    if args.plot:
        draw(runs, split, metrics[0], args.plot)
    if failed:
        sys.exit("\n".join([f"{len(failed)} runs failed; the same command tries them again", *failed]))
