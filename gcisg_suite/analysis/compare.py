"""Differences between models, with intervals where they share images or seeds."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from scipy import stats

from gcisg_core.model_metrics import ModelMetrics, Value

LEVEL = 0.95


def difference(later: Mapping[str, Value], first: Mapping[str, Value]) -> dict[str, Value]:
    """``later - first`` for each metric; where one of them has no number, its reason instead."""
    result: dict[str, Value] = {}
    for name in later:
        pair = later[name], first.get(name, "not evaluated")
        reason = next((value for value in pair if isinstance(value, str)), None)
        result[name] = reason if reason is not None else pair[0] - pair[1]  # type: ignore[operator]
    return {name: value for name, value in result.items() if not name.endswith("_error")}


def paired(later: Sequence[float], first: Sequence[float]) -> dict[str, float] | str:
    """Mean difference of paired numbers and its 95 % interval (Student's t), or the reason why there is none.

    Pairs with a NaN are skipped.

    Returns:
        ``difference``, ``low``, ``high``, ``pairs``.
    """
    differences = np.asarray(later, float) - np.asarray(first, float)
    differences = differences[np.isfinite(differences)]
    if len(differences) < 2:
        return f"{len(differences)} pairs; an interval needs at least 2"
    mean, low, high = float(differences.mean()), math.nan, math.nan
    if differences.std() > 0:
        interval = stats.ttest_1samp(differences, 0).confidence_interval(LEVEL)
        low, high = float(interval.low), float(interval.high)
    else:  # all pairs differ by the same number
        low = high = mean
    return {"difference": mean, "low": low, "high": high, "pairs": len(differences)}


def over_images(later: ModelMetrics, first: ModelMetrics) -> dict[str, Any]:
    """Paired differences of match rate and score over the images, in percentage points."""
    return {
        name: paired([100 * share for share in mine], [100 * share for share in theirs])
        if mine and len(mine) == len(theirs)
        else "no value for each image"
        for name, mine, theirs in (
            ("match_rate", later.match, first.match),
            ("score", later.score, first.score),
        )
    }


def over_seeds(names: Sequence[str], values: Sequence[Mapping[str, Value]]) -> dict[str, dict[str, Any]]:
    """Paired differences over seeds: the k-th model of a name is compared with the k-th of the first name.

    Args:
        names: Names of the checkpoints, in the order given. Checkpoints that share a name are seeds of one method.
        values: Their metrics.

    Returns:
        Each name but the first -> metric -> result of :func:`paired`. Empty if the first name has a single checkpoint.
    """
    runs = defaultdict(list)
    for name, value in zip(names, values, strict=True):
        runs[name].append(value)
    first, *others = runs
    if len(runs[first]) < 2:
        return {}
    return {name: _pairs(runs[name], runs[first]) for name in others}


def _pairs(later: Sequence[Mapping[str, Value]], first: Sequence[Mapping[str, Value]]) -> dict[str, Any]:
    if len(later) != len(first):
        return {"all": f"{len(later)} and {len(first)} checkpoints; give the same number for each name"}
    result: dict[str, Any] = {}
    for name in later[0]:
        columns = [[run.get(name, "not evaluated") for run in runs] for runs in (later, first)]
        reason = next((value for column in columns for value in column if isinstance(value, str)), None)
        result[name] = reason or paired(*columns)  # type: ignore[arg-type]
    return {name: value for name, value in result.items() if not name.endswith("_error")}
