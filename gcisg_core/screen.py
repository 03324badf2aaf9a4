"""What a framework's log shows on the screen; the log file has all of it."""

from __future__ import annotations

import logging
import re
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from gcisg_core.problems import MissingPackageError

# What the commands end with as one line; see `gcisg_suite.cli`.
ONE_LINE_ERRORS = (ValueError, OSError, FloatingPointError, MissingPackageError)
# First words of what mmengine and Detectron2 write down once, in hundreds of lines.
LISTINGS = re.compile(
    r"[\s-]*(System environment:|Config:|Hooks will be executed|Environment info:|Running with full config:"
    r"|Contents of args.config_file|Model:)"
)
ENDS_THE_RUN = "Exception during training:"  # Detectron2's word before it raises the error again, for all to see
LEAST_POINTS = 20  # of a run's curves
_listeners: list[Callable[[str, int, int], None]] = []


@contextmanager
def steps_told_to(listener: Callable[[str, int, int], None]) -> Iterator[None]:
    """Each step of a training or an evaluation inside is told to a function, and the screen shows only warnings.

    Args:
        listener: `(what, done, total)`, such as `("training", 20, 300)`.
    """
    _listeners.append(listener)
    try:
        yield
    finally:
        _listeners.remove(listener)


def tell_step(what: str, done: int, total: int) -> None:
    """Called by the frameworks' loops, after each step."""
    for listener in _listeners:
        listener(what, done, total)


def log_interval(configured: int, steps: int) -> int:
    """Steps between two lines of a training's log: as configured, but less in a run that would have few or none."""
    return min(configured, max(1, steps // LEAST_POINTS))


class _BriefFilter(logging.Filter):
    def filter(self, record: logging.LogRecord) -> bool:
        if _listeners and record.levelno < logging.WARNING:
            return False
        if record.exc_info and (isinstance(record.exc_info[1], ONE_LINE_ERRORS) or record.msg == ENDS_THE_RUN):
            return False
        return LISTINGS.match(str(record.msg)) is None


def keep_screen_brief(logger: logging.Logger) -> None:
    """Leave listings of config, environment and model, and tracebacks of errors that are one line, to the log file.

    Within :func:`steps_told_to` all but warnings is left to it.

    Args:
        logger: Its handlers of `sys.stdout` and `sys.stderr` are changed.
    """
    logging.raiseExceptions = False  # else each line that a full disk has no room for is a traceback on the screen
    for handler in logger.handlers:
        if getattr(handler, "stream", None) in (sys.stdout, sys.stderr):
            handler.addFilter(_BriefFilter())
