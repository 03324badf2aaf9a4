"""Sweeps with runs made by hand."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path

import yaml

from gcisg_suite.tasks import TASKS


def write_sweep(
    root: Path, task: str, name: str, values: Mapping[str, Sequence[float]], kept: Sequence[str] | None = None
) -> None:
    """A sweep of these variants, and beside it the runs of those that are kept; by default of all.

    Args:
        values: Variant -> the task's first metric on the test split, at each seed.
    """
    folder = root / "projects" / task / "sweeps"
    folder.mkdir(parents=True, exist_ok=True)
    variants = {variant: {"config": "baseline_mini"} for variant in values}
    (folder / f"{name}.yaml").write_text(yaml.safe_dump({"task": task, "variants": variants}, sort_keys=False))
    runs = [
        {"variant": variant, "config": "baseline_mini", "seed": seed, "test": {TASKS[task].metrics[0]: value}}
        for variant in reversed([*values])  # not in the order of the sweep
        if kept is None or variant in kept
        for seed, value in enumerate(values[variant])
    ]
    (folder / f"{name}_test.jsonl").write_text("".join(json.dumps(run) + "\n" for run in runs))
