"""Calls on all cores."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from multiprocessing import parent_process
from typing import TypeVar

from joblib import Parallel, delayed
from joblib.externals.loky import get_reusable_executor

Item = TypeVar("Item")
Result = TypeVar("Result")


def in_parallel(call: Callable[[Item], Result], items: Iterable[Item]) -> Iterator[Result]:
    """`call` of each item, in order.

    joblib keeps its processes for five minutes, in which a process that multiprocessing started, such as a sweep's run,
    could not end; so there they are stopped.
    """
    try:
        yield from Parallel(n_jobs=-1, return_as="generator")(delayed(call)(item) for item in items)
    finally:
        if parent_process() is not None:
            get_reusable_executor().shutdown(wait=True)
