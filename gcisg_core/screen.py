"""What a framework's log shows on the screen; the log file has all of it."""

from __future__ import annotations

import logging
import re
import sys

from gcisg_core.problems import MissingPackageError

# What the commands end with as one line; see `gcisg_suite.cli`.
ONE_LINE_ERRORS = (ValueError, OSError, FloatingPointError, MissingPackageError)
# First words of what mmengine and Detectron2 write down once, in hundreds of lines.
LISTINGS = re.compile(
    r"[\s-]*(System environment:|Config:|Hooks will be executed|Environment info:|Running with full config:"
    r"|Contents of args.config_file|Model:)"
)
ENDS_THE_RUN = "Exception during training:"  # Detectron2's word before it raises the error again, for all to see


class _BriefFilter(logging.Filter):
    def filter(self, record: logging.LogRecord) -> bool:
        if record.exc_info and (isinstance(record.exc_info[1], ONE_LINE_ERRORS) or record.msg == ENDS_THE_RUN):
            return False
        return LISTINGS.match(str(record.msg)) is None


def keep_screen_brief(logger: logging.Logger) -> None:
    """Leave listings of config, environment and model, and tracebacks of errors that are one line, to the log file.

    Args:
        logger: Its handlers of `sys.stdout` and `sys.stderr` are changed.
    """
    logging.raiseExceptions = False  # else each line that a full disk has no room for is a traceback on the screen
    for handler in logger.handlers:
        if getattr(handler, "stream", None) in (sys.stdout, sys.stderr):
            handler.addFilter(_BriefFilter())
