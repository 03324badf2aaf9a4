"""Prints the result of an audit, as lines and tables or as JSON."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from tabulate import tabulate

from gcisg_core.problems import EXAMPLES, AuditResult, Problem

# The parts in which problems of one kind differ: quoted or bracketed text, numbers, paths and file names.
NAMES = re.compile(r"'[^']*'|\"[^\"]*\"|\((?:[^()]|\([^()]*\))*\)|\[[^\]]*\]|\S*[\d/\\]\S*|\S+\.\w+\S*")


def show(dataset: str, results: Sequence[tuple[Path, AuditResult]], as_json: bool) -> int:
    """Print the audits of folders; returns 1 if there is any problem."""
    if as_json:
        found = [{"root": str(root), **as_dict(result)} for root, result in results]
        print(json.dumps({"dataset": dataset, **(found[0] if len(found) == 1 else {"audits": found})}, indent=2))
    else:
        for root, result in results:
            show_result(f"{dataset} in {root}", result)
    return 1 if any(result.problems for _, result in results) else 0


def as_dict(result: AuditResult) -> dict[str, Any]:
    """The whole result, for JSON."""
    return {
        "problems": [_fields(problem) for problem in result.problems],
        "summary": {kind: _count(problems) for kind, problems in by_kind(result.problems).items()},
        "counts": result.counts,
        "notes": [_fields(note) for note in result.notes],
        "labels": result.labels,
    }


def show_result(name: str, result: AuditResult) -> None:
    """Print examples of each kind, the tables, and a summary line that begins with the name."""
    _show_lines(result.problems)
    _show_lines(result.notes, "note: ")
    if result.labels:
        print(tabulate(result.labels, headers="keys", disable_numparse=True))
    if classes := _classes(result.counts):
        print(tabulate(classes, headers="keys"))
    if result.problems:
        kinds = by_kind(result.problems)
        print(tabulate([(kind, _count(found)) for kind, found in kinds.items()], ("problem", "count")))
    counts = {"images" if key == "all" else key: count for key, count in result.counts.items() if "/" not in key}
    found = ", ".join(f"{key} {count}" for key, count in counts.items())
    count = _count(result.problems)
    print(f"{name}: {count} {'problem' if count == 1 else 'problems'}; found: {found}")


def by_kind(problems: Iterable[Problem]) -> dict[str, list[Problem]]:
    """Problems grouped by kind, in the order in which the kinds first occur."""
    kinds: dict[str, list[Problem]] = {}
    for problem in problems:
        kinds.setdefault(kind_of(problem), []).append(problem)
    return kinds


def kind_of(problem: Problem) -> str:
    """The kind of a problem: its text without names and numbers."""
    return problem.kind or re.sub(r"…(\W*…)+", "…", NAMES.sub("…", problem.what)).strip()


def _fields(problem: Problem) -> dict[str, Any]:
    shown = {"file": problem.file, "what": problem.what, "remedy": problem.remedy}
    return {**shown, "kind": kind_of(problem), "count": problem.count}


def _count(problems: Sequence[Problem]) -> int:
    return sum(problem.count for problem in problems)


def _show_lines(problems: Iterable[Problem], start: str = "") -> None:
    for kind, found in by_kind(problems).items():
        for problem in found[:EXAMPLES]:
            print(f"{start}{problem}")
        if more := found[EXAMPLES:]:
            print(f"{start}... and {_count(more)} more of this kind ({kind}); --json lists all")


def _classes(counts: dict[str, int]) -> list[dict[str, Any]]:
    """One row for each class and one column for each total, from counts such as `boxes/car`."""
    rows: dict[str, dict[str, Any]] = {}
    for key, count in counts.items():
        total, slash, name = key.partition("/")
        if slash:
            rows.setdefault(name, {"class": name})[total] = count
    return [*rows.values()]
