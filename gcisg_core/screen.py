"""Limits what a framework's log shows on the screen; the log file has everything."""

from __future__ import annotations

import logging
import re
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from gcisg_core.problems import MissingPackageError

# Errors that commands report as one line; see `gcisg_suite.cli`.
ONE_LINE_ERRORS = (ValueError, OSError, FloatingPointError, MissingPackageError)
# First words of the long listings of mmengine and Detectron2; a line for each parameter is a listing too.
LISTINGS = re.compile(
    r"[\s-]*(System environment:|Config:|Hooks will be executed|Environment info:|Running with full config:"
    r"|Contents of args.config_file|Model:|paramwise_options -- |[\w.]+ is skipped since its requires_grad=False)"
)
# What mmengine says of its own code, on which a user cannot act, and of each environment variable at each reading.
ITS_OWN = re.compile(r'"(FileClient|HardDiskBackend)" |`save_param_scheduler` is True but|Using env variable `')
ENDS_THE_RUN = "Exception during training:"  # Detectron2's message before it raises the error again
LEAST_POINTS = 20  # of a run's curves
_listeners: list[Callable[[str, int, int], None]] = []


@contextmanager
def steps_told_to(listener: Callable[[str, int, int], None]) -> Iterator[None]:
    """Report each step of training or evaluation in the block to a function; the screen shows only warnings.

    Args:
        listener: `(what, done, total)`, such as `("training", 20, 300)`.
    """
    _listeners.append(listener)
    try:
        yield
    finally:
        _listeners.remove(listener)


def tell_step(what: str, done: int, total: int) -> None:
    """Report a step; called by the frameworks' loops after each step."""
    for listener in _listeners:
        listener(what, done, total)


def log_interval(configured: int, steps: int) -> int:
    """Steps between two lines of a training log: as configured, but fewer in a short run with few or no lines."""
    return min(configured, max(1, steps // LEAST_POINTS))


class _BriefFilter(logging.Filter):
    def filter(self, record: logging.LogRecord) -> bool:
        if _listeners and record.levelno < logging.WARNING:
            return False
        if record.exc_info and (isinstance(record.exc_info[1], ONE_LINE_ERRORS) or record.msg == ENDS_THE_RUN):
            return False
        return not any(pattern.match(str(record.msg)) for pattern in (LISTINGS, ITS_OWN))


_FILTER = _BriefFilter()


def keep_screen_brief(logger: logging.Logger) -> None:
    """Keep listings (config, environment, model, parameters) and tracebacks of one-line errors to the log file.

    Messages that match :data:`ITS_OWN` are not shown either, and within :func:`steps_told_to` only warnings are.

    Args:
        logger: Its handlers of `sys.stdout` and `sys.stderr` are changed.
    """
    logging.raiseExceptions = False  # otherwise a full disk causes a traceback on the screen for each line
    for handler in logger.handlers:
        if getattr(handler, "stream", None) in (sys.stdout, sys.stderr):
            handler.addFilter(_FILTER)
