"""A run on the miniature: trained, evaluated on its splits, and not repeated once it is finished.

A door ``mini`` is a `train_and_evaluate(config, splits, work_dir, overrides, seed, source)`. ``config`` is a name
such as ``gcisg_mini``; ``overrides`` are in the framework's form; ``seed`` varies the training images, their order and
augmentation, and the start of the heads; ``source`` says what these images are: ``synthetic``, or ``real`` and
``restyled`` for the criteria. The splits are ``dev``, ``test``, and for the criteria
``synthetic``: synthetic images that no run trains on.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, TypeVar

from gcisg_core.files import write_text
from gcisg_suite.text import read_json_object

RESULT = "result.json"
HELD_OUT_SEED = 1_000  # of the split "synthetic"
EARLIER_RESULTS = ("measures.json", "metrics.json")  # the second is also the name of Detectron2's log
Trained = TypeVar("Trained")


def evaluated_once(
    work_dir: Path,
    splits: Sequence[str],
    train: Callable[[], Trained],
    evaluate: Callable[[Trained, str], dict[str, Any]],
) -> dict[str, Any]:
    """Train and evaluate, or read what that gave; the result is kept as `result.json`.

    Args:
        work_dir: Where the run is kept.
        splits: ``dev``, ``test``, ``synthetic``.
        train: Trains and returns what `evaluate` needs.
        evaluate: Evaluates what was trained on a split.

    Returns:
        Split -> its metrics, and ``seconds`` of `train`.
    """
    if (work_dir / RESULT).is_file() and (found := read_json_object(work_dir / RESULT)).keys() >= {*splits}:
        return found
    for name in EARLIER_RESULTS:
        with suppress(OSError, ValueError):  # not there, or a log: lines of JSON
            found = read_json_object(work_dir / name)
            if found.keys() >= {"seconds", *splits}:
                return found
    start = time.perf_counter()
    trained = train()
    result: dict[str, Any] = {"seconds": time.perf_counter() - start}
    result |= {split: evaluate(trained, split) for split in splits}
    write_text(work_dir / RESULT, json.dumps(result))
    return result
