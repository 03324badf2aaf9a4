"""How commands show progress: a bar on a terminal, a few lines elsewhere; always on stderr."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Iterable, Iterator, Sized
from contextlib import AbstractContextManager, contextmanager, nullcontext
from contextvars import ContextVar
from typing import TypeVar

from tqdm import tqdm

from gcisg_core.screen import steps_told_to

Item = TypeVar("Item")
FIRST_ESTIMATE, LATER = 10.0, 3  # seconds until the first estimate in a log, and the factor to each next one
SLOW = 3.0  # seconds after which work that is usually quick is shown
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
        after: Seconds until it is shown; work that ends earlier is not.
        expected: How long work of one step takes, in words; it has no estimate.
    """

    def __init__(
        self, what: str, total: int | None, unit: str, done: int = 0, after: float = 0.0, expected: str = ""
    ) -> None:
        self.what, self.total, self.unit = ": ".join((*_names.get(), what)), total, unit
        self.first = self.done = done
        self.start, self.due = time.monotonic(), after or FIRST_ESTIMATE
        self.bar, self.told = None, False
        if sys.stderr.isatty():
            desc = f"{self.what} ({expected})" if expected else self.what
            self.bar = tqdm(
                desc=desc, total=total, unit=unit, initial=done, delay=after, leave=False, dynamic_ncols=True
            )
        elif not after:
            self._say(expected or ("" if total is None else self._count(total)))

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
            if self.total:
                to_go = seconds * (self.total - done) / (done - self.first)
                self._say(f"{done} of {self.total}, about {duration(to_go)} to go")
            else:
                self._say(f"{self._count(done)} so far")

    def end(self, finished: bool = True) -> None:
        """Finish."""
        if self.bar is not None:
            self.bar.close()
        elif finished and self.told:
            self._say(f"done in {duration(time.monotonic() - self.start)}")

    def _count(self, number: int) -> str:
        plural = f"{self.unit}es" if self.unit.endswith(("ch", "s")) else f"{self.unit}s"
        return f"{number} {self.unit if number == 1 else plural}"

    def _say(self, text: str) -> None:
        self.told = True
        print(": ".join(filter(None, (self.what, text))), file=sys.stderr, flush=True)


def progress(
    items: Iterable[Item], what: str, unit: str = "image", total: int | None = None, after: float = 0.0
) -> Iterator[Item]:
    """Iterate over the items and show the progress.

    Args:
        items: Any number.
        what: What is done with them: ``evaluating``.
        unit: What each item is, in the singular.
        total: How many there are; None to ask the items, which may not know.
        after: Seconds until it is shown.
    """
    if total is None and isinstance(items, Sized):
        total = len(items)
    with Progress(what, total, unit, after=after) as shown:
        for done, item in enumerate(items, start=1):
            yield item
            shown.reach(done)


def shown_if_slow(items: Iterable[Item], what: str, unit: str = "image", total: int | None = None) -> Iterator[Item]:
    """:func:`progress` for work that is usually quick, such as listing files: shown only after :data:`SLOW` seconds.

    It suits code that training runs too: of several training processes, only the first shows it.
    """
    return progress(items, what, unit, total, SLOW) if _is_first_process() else iter(items)


def brief(what: str) -> Progress:
    """Show a single step of a few seconds, which has no estimate."""
    return Progress(what, None, "step", expected="a few seconds")


def loading(what: str) -> AbstractContextManager[object]:
    """Show that a framework is imported, which takes seconds; only the first of several training processes does."""
    return brief(f"loading {what}") if _is_first_process() else nullcontext()


def _is_first_process() -> bool:
    return os.environ.get("RANK", "0") == "0"


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
