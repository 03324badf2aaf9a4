"""One check for many files, in several processes, with a progress bar."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor
from contextlib import nullcontext
from typing import TypeVar

from gcisg_suite.progress import progress

Item = TypeVar("Item")
Found = TypeVar("Found")


def check_all(check: Callable[[Item], Found], items: Sequence[Item], workers: int, unit: str = "image") -> list[Found]:
    """What `check` returns for each item, in their order.

    Args:
        check: A function of a module, or a `functools.partial` of one.
        items: What it is given, one at a time.
        workers: Processes; with 1 everything runs in this one.
        unit: What the progress counts.
    """
    # Large enough that passing work around is cheap, small enough that the bar moves and no process idles at the end.
    chunk = max(1, min(64, len(items) // (4 * max(workers, 1))))
    with ProcessPoolExecutor(workers) if workers > 1 else nullcontext() as pool:
        found = pool.map(check, items, chunksize=chunk) if pool else map(check, items)
        return list(progress(found, "checking", unit, len(items)))
