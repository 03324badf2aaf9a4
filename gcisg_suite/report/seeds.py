"""Several runs of one name are seeds of one method: labels, means, and what one method gains over the first."""

from __future__ import annotations

import math
import statistics
from collections.abc import Mapping, Sequence

from gcisg_suite.analysis.compare import paired

Results = Mapping[str, Sequence[Mapping[str, float]]]  # method -> its runs, each metric -> number
NONE = "-"


def labels(names: Sequence[str]) -> list[str]:
    """A name for each run that no other has: seeds of one method are numbered from 0."""
    return [
        f"{name} #{names[:position].count(name)}" if names.count(name) > 1 else name
        for position, name in enumerate(names)
    ]


def table(results: Results, metrics: Mapping[str, str]) -> tuple[list[str], list[list[str]]]:
    """Heads and rows: a row a metric, a column a method, and beside each but the first its gain over that.

    Args:
        results: Of each method; several seeds give mean ± standard deviation, and the gain its 95 % t-interval.
        metrics: Metric -> how it is called.
    """
    first, *others = results
    columns = ["metric", first]
    for name in others:
        columns += [name, "gain" if len(others) == 1 else f"gain of {name}"]
    rows = []
    for key, label in metrics.items():
        numbers = {name: _numbers(runs, key) for name, runs in results.items()}
        row = [label, _mean(numbers[first])]
        for name in others:
            row += [_mean(numbers[name]), _gain(numbers[name], numbers[first])]
        rows.append(row)
    return columns, rows


def verdicts(results: Results, metric: str, head: str, where: str = "") -> list[str]:
    """A sentence for each method but the first; of one method alone what can be said of that.

    Args:
        results: Of each method.
        metric: The one that is compared.
        head: How it is called, such as ``mIoU``.
        where: What stands behind a method that is alone, such as ``on the test data``.
    """
    first, *others = results
    numbers = {name: _numbers(runs, metric) for name, runs in results.items()}
    if not others:
        seeds = len(numbers[first])
        alone = "one run" if seeds == 1 else f"{seeds} seeds"
        text = f"{first}: {head} {_mean(numbers[first])} {where}".rstrip()
        return [f"{text}; {alone} of one method, so nothing to compare with."]
    return [_verdict(name, first, numbers, head) for name in others]


def _verdict(name: str, first: str, numbers: Mapping[str, Sequence[float]], head: str) -> str:
    later, earlier = numbers[name], numbers[first]
    seeds = len(later)
    if not any(map(math.isfinite, later)) or not any(map(math.isfinite, earlier)):
        return f"{name} and {first} have no {head} that could be compared."
    text = f"{name} {_difference(later, earlier):+.1f} points of {head} over {first}"
    found = paired(later, earlier) if seeds == len(earlier) else ""
    if isinstance(found, str):
        count = f"{seeds} and {len(earlier)} runs" if seeds != len(earlier) else "one seed"
        return f"{text} ({_mean(later)} against {_mean(earlier)}), {count}: no interval."
    inconclusive = "" if found["low"] > 0 or found["high"] < 0 else ", which holds 0: no difference is shown"
    return f"{text}, 95 % {found['low']:+.1f} to {found['high']:+.1f}, {found['pairs']} seeds{inconclusive}."


def _numbers(runs: Sequence[Mapping[str, float]], metric: str) -> list[float]:
    return [run.get(metric, math.nan) for run in runs]


def _difference(later: Sequence[float], earlier: Sequence[float]) -> float:
    return statistics.fmean(later) - statistics.fmean(earlier)


def _mean(numbers: Sequence[float]) -> str:
    if not any(map(math.isfinite, numbers)):
        return NONE
    spread = f" ± {statistics.stdev(numbers):.2f}" if len(numbers) > 1 else ""
    return f"{statistics.fmean(numbers):.2f}{spread}"


def _gain(later: Sequence[float], earlier: Sequence[float]) -> str:
    difference = _difference(later, earlier)
    if not math.isfinite(difference):
        return NONE
    found = paired(later, earlier) if len(later) == len(earlier) else ""
    interval = "" if isinstance(found, str) else f" [{found['low']:+.2f}, {found['high']:+.2f}]"
    return f"{difference:+.2f}{interval}"
