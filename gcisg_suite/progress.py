"""How commands show progress: a bar on a terminal, a few lines elsewhere; always on stderr."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterable, Iterator, Sized
from contextlib import contextmanager
from contextvars import ContextVar
from typing import TypeVar

from tqdm import tqdm

from gcisg_core.screen import steps_told_to

Item = TypeVar("Item")
FIRST_ESTIMATE, LATER = 10.0, 3  # seconds until the first estimate in a log, and the factor to each next one
_names: ContextVar[tuple[str, ...]] = ContextVar("names", default=())


def duration(seconds: float) -> str:
    """``40 s``, ``12 min``, ``3.5 h``."""
    if seconds < 120:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 7200 else f"{seconds / 3600:.1f} h"


@contextmanager
def named(name: str) -> Iterator[None]:
    """Progress shown inside gets this name in front: `baseline: evaluating`."""
    token = _names.set((*_names.get(), name))
    try:
        yield
    finally:
        _names.reset(token)


class Progress:
    """One piece of work, counted.

    On a terminal it is tqdm's bar with the remaining time. Elsewhere, as in the log of a cluster's job, it is a line at
    the start, an estimate after 10, 30, 90, ... seconds, and a line at the end.

    Args:
        what: What is done, such as ``evaluating``.
        total: How many steps it has; None if that is not known.
        unit: What a step is, in the singular.
        done: Steps that an earlier start has done.
    """

    def __init__(self, what: str, total: int | None, unit: str, done: int = 0) -> None:
        self.what, self.total, self.unit = ": ".join((*_names.get(), what)), total, unit
        self.first = self.done = done
        self.start, self.due = time.monotonic(), FIRST_ESTIMATE
        self.bar = None
        if sys.stderr.isatty():
            self.bar = tqdm(desc=self.what, total=total, unit=unit, initial=done, leave=False, dynamic_ncols=True)
        else:
            self._say("" if total is None else self._count(total))

    def __enter__(self) -> Progress:
        return self

    def __exit__(self, error: object, *_: object) -> None:
        self.end(finished=error is None)

    def reach(self, done: int) -> None:
        """Set the number of steps done so far."""
        if self.bar is not None:
            self.bar.update(done - self.done)
        self.done = done
        seconds = time.monotonic() - self.start
        if self.bar is None and seconds >= self.due and done > self.first and done != self.total:
            self.due = LATER * seconds
            left = f" of {self.total}" if self.total else ""
            to_go = seconds * (self.total - done) / (done - self.first) if self.total else None
            self._say(f"{done}{left}" + ("" if to_go is None else f", about {duration(to_go)} to go"))

    def end(self, finished: bool = True) -> None:
        """Finish."""
        if self.bar is not None:
            self.bar.close()
        elif finished:
            self._say(f"done in {duration(time.monotonic() - self.start)}")

    def _count(self, number: int) -> str:
        plural = f"{self.unit}es" if self.unit.endswith(("ch", "s")) else f"{self.unit}s"
        return f"{number} {self.unit if number == 1 else plural}"

    def _say(self, text: str) -> None:
        print(": ".join(filter(None, (self.what, text))), file=sys.stderr, flush=True)


def progress(items: Iterable[Item], what: str, unit: str = "image", total: int | None = None) -> Iterator[Item]:
    """Iterate over the items and show the progress.

    Args:
        items: Any number.
        what: What is done with them: ``evaluating``.
        unit: What each item is, in the singular.
        total: How many there are; None to ask the items, which may not know.
    """
    if total is None and isinstance(items, Sized):
        total = len(items)
    with Progress(what, total, unit) as shown:
        for done, item in enumerate(items, start=1):
            yield item
            shown.reach(done)


@contextmanager
def training_bars() -> Iterator[None]:
    """Show the frameworks' training and evaluation as :class:`Progress` instead of their logs."""
    shown: list[Progress] = []  # one at most

    def on_step(what: str, done: int, total: int) -> None:
        if shown and (shown[0].what.rpartition(": ")[2] != what or done <= shown[0].done):
            shown.pop().end()
        if not shown:
            shown.append(Progress(what, total, "step", done - 1))
        shown[0].reach(done)
        if done >= total:
            shown.pop().end()

    try:
        with steps_told_to(on_step):
            yield
    finally:
        while shown:
            shown.pop().end(finished=False)
