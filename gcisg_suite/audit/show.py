"""What an audit found, as lines or as JSON."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path

from tabulate import tabulate

from gcisg_core.problems import AuditResult


def show(dataset: str, root: Path, result: AuditResult, as_json: bool) -> int:
    """Print it; returns 1 where there is a problem."""
    if as_json:
        print(json.dumps({"dataset": dataset, "root": str(root), **dataclasses.asdict(result)}, indent=2))
        return 1 if result.problems else 0
    for problem in result.problems:
        print(problem)
    show_notes(result)
    totals = {name: count for name, count in result.counts.items() if "/" not in name}
    for total in totals:
        if parts := {name: n for name, n in result.counts.items() if name.startswith(f"{total}/")}:
            print(f"{total}: " + ", ".join(f"{name.partition('/')[2]} {count}" for name, count in parts.items()))
    found = ", ".join(f"{name} {count}" for name, count in totals.items())
    print(f"{dataset} in {root}: {len(result.problems)} problems; found: {found}")
    return 1 if result.problems else 0


def show_notes(result: AuditResult) -> None:
    """Print what is no problem: notes, and the table of labels."""
    for note in result.notes:
        print(f"note: {note}")
    if result.labels:
        print(tabulate(result.labels, headers="keys", disable_numparse=True))
