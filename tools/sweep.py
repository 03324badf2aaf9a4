#!/usr/bin/env python
"""Train and measure variants of a miniature config over seeds; one JSON line per finished run.

    python tools/sweep.py --grid projects/classification/sweeps/lambdas.yaml --seeds 0-1 --half dev

A grid file names variants, each a config and overrides, and optionally a product of further overrides:

    variants: {GCISG: {config: gcisg_mini}}
    grid: {model.regularizer.lambda_ci: [0.0, 0.5]}

Runs that are in the output already are skipped, so a sweep that was stopped goes on where it was. The table gives mean
and standard deviation over seeds, and the paired difference to the first variant with its 95 % t-interval.
"""

from __future__ import annotations

import argparse
import itertools
import json
import multiprocessing
import os
import re
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from pathlib import Path
from typing import Any

import numpy as np
import torch
import yaml
from scipy import stats
from tabulate import tabulate
from tqdm import tqdm

from gcisg_core.lookup import unknown_name

MEASURES = ("accuracy", "match_rate", "acc_in", "cka")


def read_variants(path: Path) -> dict[str, tuple[str, list[str]]]:
    """Name of a variant -> its config and overrides, the product of the grid included."""
    content = yaml.safe_load(path.read_text())
    for key in content:
        if key not in ("variants", "grid"):
            raise unknown_name(key, ("variants", "grid"), f"key in {path}")
    grid = content.get("grid", {})
    variants = {}
    for name, variant in content["variants"].items():
        for values in itertools.product(*grid.values()):
            chosen = dict(zip(grid, values, strict=True))
            label = ", ".join([name, *(f"{key.rpartition('.')[2]} {value}" for key, value in chosen.items())])
            overrides = [f"{key}={value}" for key, value in {**variant.get("overrides", {}), **chosen}.items()]
            variants[label] = (variant["config"], overrides)
    return variants


def read_runs(path: Path) -> list[dict[str, Any]]:
    """The finished runs; a last line that a kill cut short counts as not there."""
    lines = path.read_text().split("\n")[:-1] if path.is_file() else []
    return [json.loads(line) for line in lines]


def run(variant: str, config: str, overrides: list[str], seed: int, half: str, work: str) -> dict[str, Any]:
    """One run in a process of its own."""
    torch.set_num_threads(1)
    from gcisg_cls.mini import train_and_measure

    with open(os.devnull, "w") as nowhere:  # noqa: PTH123 - the log of each run is in its folder
        os.dup2(nowhere.fileno(), 1)
        os.dup2(nowhere.fileno(), 2)
    folder = Path(work) / re.sub("[^A-Za-z0-9.]+", "_", variant) / f"seed_{seed}"
    result = train_and_measure(config, [half], folder, overrides, seed)
    return {"variant": variant, "config": config, "overrides": overrides, "seed": seed, **result}


def table(runs: Sequence[dict[str, Any]], half: str) -> Iterator[list[str]]:
    """Rows of the printed table, the variants in the order of the runs' first appearance."""
    values: dict[str, dict[int, dict[str, float]]] = {}
    for entry in runs:
        if half in entry:
            values.setdefault(entry["variant"], {})[entry["seed"]] = entry[half]
    first = next(iter(values.values()), {})
    for variant, seeds in values.items():
        row = [variant, str(len(seeds))]
        for key in MEASURES:
            numbers = np.array([measures[key] for measures in seeds.values()])
            spread = f" ± {numbers.std(ddof=1):.2f}" if len(numbers) > 1 else ""
            row.append(f"{numbers.mean():.2f}{spread}")
        common = sorted(seeds.keys() & first.keys())
        differences = np.array([seeds[s]["accuracy"] - first[s]["accuracy"] for s in common])
        if len(differences) > 1 and differences.std() > 0:
            low, high = stats.t.interval(0.95, len(differences) - 1, differences.mean(), stats.sem(differences))
            row.append(f"{differences.mean():+.2f} [{low:+.2f}, {high:+.2f}]")
        else:
            row.append(f"{differences.mean():+.2f}" if len(differences) else "")
        yield row


def parse_seeds(text: str) -> list[int]:
    first, _, last = text.partition("-")
    return list(range(int(first), int(last or first) + 1))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--grid", type=Path, required=True, help="the YAML file of variants")
    parser.add_argument("--seeds", type=parse_seeds, default=[0], metavar="A-B", help="seeds, both included")
    parser.add_argument("--half", choices=("dev", "test"), default="dev", help="dev to choose settings, test to report")
    parser.add_argument("--out", type=Path, help="JSON lines (by default beside the grid: <grid>_<half>.jsonl)")
    parser.add_argument("--jobs", type=int, default=os.cpu_count(), help="runs at once, one thread each")
    args = parser.parse_args()
    out = args.out or args.grid.with_name(f"{args.grid.stem}_{args.half}.jsonl")

    from gcisg_cls.mini import prepare_mini

    prepare_mini()
    done = {(entry["variant"], entry["seed"]) for entry in read_runs(out)}
    variants = read_variants(args.grid)
    todo = [(name, *variants[name], seed) for seed in args.seeds for name in variants if (name, seed) not in done]
    work = f"runs/sweeps/{args.grid.stem}_{args.half}"
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(args.jobs, mp_context=context) as pool, out.open("a") as lines:
        futures = [pool.submit(run, *job, args.half, work) for job in todo]
        for future in tqdm(as_completed(futures), total=len(futures), desc="runs"):
            lines.write(json.dumps(future.result()) + "\n")
            lines.flush()
    order = list(variants)
    runs = sorted((r for r in read_runs(out) if r["variant"] in variants), key=lambda r: order.index(r["variant"]))
    heads = ["variant", "seeds", *MEASURES, "accuracy against the first, 95 %"]
    print(tabulate(table(runs, args.half), headers=heads, tablefmt="github", disable_numparse=True))


if __name__ == "__main__":
    main()
