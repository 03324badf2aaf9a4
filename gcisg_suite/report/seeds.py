"""Several runs of one name are seeds of one method: labels, means, and what one method gains over the first."""

from __future__ import annotations

import math
import statistics
from collections.abc import Mapping, Sequence
from typing import Any

from gcisg_suite.analysis.compare import paired

Results = Mapping[str, Sequence[Mapping[str, Any]]]  # method -> its runs: metric -> number, or why there is none
NONE = "-"


def labels(names: Sequence[str]) -> list[str]:
    """A unique name for each run: seeds of one method are numbered from 0."""
    return [
        f"{name} #{names[:position].count(name)}" if names.count(name) > 1 else name
        for position, name in enumerate(names)
    ]


def table(results: Results, metrics: Mapping[str, str]) -> tuple[list[str], list[list[str]]]:
    """Heads and rows: one row for each metric, one column for each method, and gains over the first method.

    Args:
        results: Results of each method. Several seeds give mean ± standard deviation, and gains with a 95 % t-interval.
        metrics: Metric -> its name on the page.
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
    """One sentence for each method after the first, or about the only method.

    Args:
        results: Results of each method.
        metric: The compared metric.
        head: Its name on the page, such as ``mIoU``.
        where: Appended if there is only one method, such as ``on the test data``.
    """
    first, *others = results
    numbers = {name: _numbers(runs, metric) for name, runs in results.items()}
    if others:
        return [_verdict(name, first, numbers[name], numbers[first], head) for name in others]
    seeds = len(_finite(numbers[first]))
    if not seeds:
        return [f"{first} has no {head}; the table says why."]
    text = f"{first}: {head} {_mean(numbers[first])} {where}".rstrip()
    alone = "one run" if seeds == 1 else f"{seeds} seeds"
    return [f"{text}; {alone} of one method, so nothing to compare with."]


def _verdict(name: str, first: str, later: Sequence[float], earlier: Sequence[float], head: str) -> str:
    gain = _compare(later, earlier)
    if gain is None:
        return f"{name} and {first} have no {head} to compare."
    beside = "over" if gain["difference"] >= 0 else "against"
    text = f"{name} {gain['difference']:+.1f} points of {head} {beside} {first}"
    if "pairs" not in gain:
        count = "one seed" if len(later) == len(earlier) == 1 else f"{len(later)} and {len(earlier)} runs"
        return f"{text} ({_mean(later)} against {_mean(earlier)}), {count}: no interval."
    shown = gain["low"] > 0 or gain["high"] < 0
    interval = f"95 % {gain['low']:+.1f} to {gain['high']:+.1f}, {gain['pairs']:.0f} seeds"
    return f"{text}, {interval}{'' if shown else ': no clear difference, since the interval contains 0'}."


def _numbers(runs: Sequence[Mapping[str, Any]], metric: str) -> list[float]:
    """NaN if a run has no number."""
    values = (run.get(metric) for run in runs)
    return [float(value) if isinstance(value, int | float) else math.nan for value in values]


def _finite(numbers: Sequence[float]) -> list[float]:
    return [number for number in numbers if math.isfinite(number)]


def _mean(numbers: Sequence[float]) -> str:
    found = _finite(numbers)
    if not found:
        return NONE
    spread = f" ± {statistics.stdev(found):.2f}" if len(found) > 1 else ""
    return f"{statistics.fmean(found):.2f}{spread}"


def _compare(later: Sequence[float], earlier: Sequence[float]) -> dict[str, float] | None:
    """The difference; paired with an interval if there are at least two pairs; None if one method has no number."""
    found = paired(later, earlier) if len(later) == len(earlier) else ""
    if not isinstance(found, str):
        return found
    pair = _finite(later), _finite(earlier)
    return {"difference": statistics.fmean(pair[0]) - statistics.fmean(pair[1])} if all(pair) else None


def _gain(later: Sequence[float], earlier: Sequence[float]) -> str:
    found = _compare(later, earlier)
    if found is None:
        return NONE
    interval = f" [{found['low']:+.2f}, {found['high']:+.2f}]" if "pairs" in found else ""
    return f"{found['difference']:+.2f}{interval}"
