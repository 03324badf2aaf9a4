"""Choosing a checkpoint of a run without target labels; `docs/selection.md` explains it."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from scipy.stats import rankdata
from tabulate import tabulate

from gcisg_core.export import file_hash
from gcisg_core.files import write_text
from gcisg_core.lookup import choose
from gcisg_core.model_metrics import Value
from gcisg_suite.analysis.task import EvalTask
from gcisg_suite.text import read_json_lines

from .settings import CHOICES, COMBINED, CRITERIA, TARGET

FILE = "selection.jsonl"
SCHEMA = 1  # of its lines


def evaluate_checkpoint(
    path: Path, iteration: int, target: EvalTask, source: EvalTask | None = None, labels: bool = False
) -> dict[str, Any]:
    """A line of `selection.jsonl`.

    Args:
        path: The checkpoint.
        iteration: The iteration after which it was written.
        target: Its images are used, and its labels only with ``labels``.
        source: Labelled source images that were not trained on.
        labels: Also evaluate the task on the target, to know what a choice without labels costs.
    """
    head = next(iter(target.heads))
    values = target.evaluate(target.load(str(path))).values
    line: dict[str, Any] = {
        "schema": SCHEMA,
        "checkpoint": path.name,
        "hash": file_hash(path),
        "iteration": iteration,
        "head": head,
        "images": target.data,
        "source_images": source.data if source else None,
        "source": source.evaluate(source.load(str(path))).values[head] if source else "no source validation images",
    }
    line |= {name: values[criterion.metric] for name, criterion in CRITERIA.items() if criterion.metric}
    return line | ({TARGET: values[head]} if labels else {})


def read_lines(run: Path) -> list[dict[str, Any]]:
    """The evaluated checkpoints of a run."""
    file = run / FILE
    return [line for line in read_json_lines(file) if line.get("schema") == SCHEMA] if file.is_file() else []


def append_line(run: Path, line: Mapping[str, Any]) -> None:
    """Add an evaluated checkpoint to the run's file, which is replaced as a whole."""
    write_text(run / FILE, "".join(json.dumps(each) + "\n" for each in [*read_lines(run), line]))


def covers(line: Mapping[str, Any], path: Path, target: EvalTask, source: EvalTask | None, labels: bool) -> bool:
    """Whether a line holds everything that :func:`evaluate_checkpoint` would compute."""
    same = line["images"] == target.data and line["source_images"] == (source.data if source else None)
    return same and (TARGET in line or not labels) and line["hash"] == file_hash(path)


def ranks(lines: Sequence[Mapping[str, Any]]) -> dict[str, list[float]]:
    """Criterion -> the rank of each checkpoint, 1 being the best; ties share the mean of their ranks.

    A checkpoint without a number is last. Criteria without a number for any checkpoint are left out; ``mean_rank`` is
    the mean of the others.
    """
    result = {
        name: _ranked([line[name] for line in lines], criterion.more)
        for name, criterion in CRITERIA.items()
        if any(not isinstance(line[name], str) for line in lines)
    }
    if result:
        result[COMBINED] = [sum(column) / len(column) for column in zip(*result.values(), strict=True)]
    if lines and all(TARGET in line and not isinstance(line[TARGET], str) for line in lines):
        result[TARGET] = _ranked([line[TARGET] for line in lines], more=True)
    return result


def _ranked(values: Sequence[Value], more: bool) -> list[float]:
    worst = float("inf")
    costs = [worst if isinstance(value, str) else -value if more else value for value in values]
    ranked: list[float] = rankdata(costs, method="average").tolist()
    return ranked


def select(lines: Sequence[Mapping[str, Any]], by: str = COMBINED) -> Mapping[str, Any]:
    """The best checkpoint by a criterion; among equals the later one.

    Raises:
        ValueError: there is none, or the criterion is unknown or has no number.
    """
    choose(dict.fromkeys(CHOICES, True), by, "criterion")
    found = ranks(lines)
    if by not in found:
        reason = lines[0].get(by, "it needs the target's labels") if lines else "no checkpoint was evaluated"
        if lines and by == COMBINED:
            reason = "; ".join(f"{name}: {lines[0][name]}" for name in CRITERIA)
        raise ValueError(f"cannot choose by {by!r}: {reason}. Available: {', '.join(found) or 'nothing'}")
    best = min(range(len(lines)), key=lambda index: (found[by][index], -lines[index]["iteration"]))
    return lines[best]


def ranking(lines: Sequence[Mapping[str, Any]], by: str) -> tuple[list[str], list[list[Any]]]:
    """Heads and rows, the best first."""
    found = ranks(lines)
    columns = [name for name in (*CRITERIA, TARGET) if name in found]
    order = sorted(range(len(lines)), key=lambda index: (found[by][index], -lines[index]["iteration"]))
    means = found.get(COMBINED, [""] * len(lines))
    titles = [f"{name} {lines[0]['head']}" if name in ("source", TARGET) else name for name in columns]
    rows = [[lines[i]["checkpoint"], *(lines[i][name] for name in columns), means[i]] for i in order]
    return ["checkpoint", *titles, COMBINED], rows


def missing(lines: Sequence[Mapping[str, Any]]) -> list[str]:
    """Criteria without a number for any checkpoint, and why."""
    found = ranks(lines)
    left_out = [name for name in CRITERIA if name not in found]
    warning = "The other criteria do not tell whether a checkpoint has learnt its task: give --source, if you can."
    return [f"Left out: {name} ({lines[0][name]})." for name in left_out] + [warning] * ("source" in left_out)


def choice(lines: Sequence[Mapping[str, Any]], by: str) -> str:
    """What is chosen, and how. Raises as :func:`select`."""
    labels = f"with target labels ({lines[0]['head']}), as the authors' code does, so not comparable with choices made"
    how = f"{labels} without them" if by == TARGET else f"by {by}, without target labels"
    return f"Chosen {how}: {select(lines, by)['checkpoint']}"


def costs(lines: Sequence[Mapping[str, Any]]) -> tuple[list[str], list[list[Any]]]:
    """Each criterion's choice and the last checkpoint, and how far they are below the best on the target."""
    chosen = {name: select(lines, name) for name in ranks(lines)}
    chosen["the last one"] = max(lines, key=lambda line: line["iteration"])
    best = chosen[TARGET][TARGET]
    rows = [
        [name if name != TARGET else "target (the best)", line["checkpoint"], line[TARGET], best - line[TARGET]]
        for name, line in chosen.items()
        if not isinstance(line[TARGET], str)
    ]
    return ["chosen by", "checkpoint", f"target {lines[0]['head']}", "cost"], rows


def report(lines: Sequence[Mapping[str, Any]], by: str = COMBINED) -> str:
    """The ranking, the choice, and with target labels what each choice costs against the best one.

    Raises:
        ValueError: see :func:`select`.
    """
    select(lines, by)
    tables = [ranking(lines, by), *([costs(lines)] if TARGET in ranks(lines) else [])]
    printed = [tabulate(rows, heads, floatfmt=".4g") for heads, rows in tables]
    return "\n\n".join([*printed, *missing(lines), choice(lines, by)])
