"""Runs a check over many files in several processes, with a progress bar."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor
from contextlib import nullcontext
from typing import TypeVar

from gcisg_suite.progress import progress

Item = TypeVar("Item")
Found = TypeVar("Found")


def check_all(check: Callable[[Item], Found], items: Sequence[Item], workers: int, unit: str = "image") -> list[Found]:
    """The results of `check` for all items, in their order.

    Args:
        check: A function at the top level of a module, or a `functools.partial` of one.
        items: Its arguments, one for each call.
        workers: Number of processes; 1 runs everything in this process.
        unit: What the progress bar counts.
    """
    # Large enough to keep the overhead low, small enough that the bar moves and no process idles at the end.
    chunk = max(1, min(64, len(items) // (4 * max(workers, 1))))
    with ProcessPoolExecutor(workers) if workers > 1 else nullcontext() as pool:
        found = pool.map(check, items, chunksize=chunk) if pool else map(check, items)
        return list(progress(found, "checking", unit, len(items)))
