"""A run on the miniature: trained, measured on its halves, and not repeated once it is finished.

A task's door ``mini`` is a `train_and_measure(config, halves, work_dir, overrides, seed)`. ``config`` is a name such as
``gcisg_mini``; ``overrides`` are in the framework's form; ``seed`` varies the synthetic images, their order and
augmentation, and the start of the heads.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, TypeVar

from gcisg_core.files import write_text

RESULT = "measures.json"
Trained = TypeVar("Trained")


def measured_once(
    work_dir: Path,
    halves: Sequence[str],
    train: Callable[[], Trained],
    measure: Callable[[Trained, str], dict[str, Any]],
) -> dict[str, Any]:
    """Train and measure, or read what that gave; the result is kept as `measures.json`.

    Args:
        work_dir: Where the run is kept.
        halves: ``dev``, ``test``.
        train: Trains and returns what `measure` needs.
        measure: What was trained, on a half.

    Returns:
        Half -> its measures, and ``seconds`` of `train`.
    """
    done = work_dir / RESULT
    if done.is_file():
        finished: dict[str, Any] = json.loads(done.read_text())
        return finished
    start = time.perf_counter()
    trained = train()
    result: dict[str, Any] = {"seconds": time.perf_counter() - start}
    result |= {half: measure(trained, half) for half in halves}
    write_text(done, json.dumps(result))
    return result
