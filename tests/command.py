"""Runs `gcisg` in this process, which has the frameworks loaded: a start of an interpreter takes seconds."""

from __future__ import annotations

import contextlib
import io
from pathlib import Path
from typing import NamedTuple

from gcisg_suite.cli import main


class Ended(NamedTuple):
    """How a command ended: its exit status and what it wrote to the two streams."""

    code: int
    out: str
    err: str


def gcisg(*words: object) -> Ended:
    """`gcisg WORDS`; an exception that it does not turn into one line passes through."""
    out, err = io.StringIO(), io.StringIO()
    code = 0
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        try:
            main([*map(str, words)])
        except SystemExit as stop:
            code = stop.code if isinstance(stop.code, int) else 1
            if isinstance(stop.code, str):  # Python writes it and exits with 1
                print(stop.code, file=err)
    return Ended(code, out.getvalue(), err.getvalue())


def texts_in(run: Path) -> dict[str, str]:
    """The contents of a run's identity and configs, by name."""
    return {
        path.name: path.read_text()
        for path in run.iterdir()
        if path.name == "identity.json" or path.suffix in (".py", ".yaml")
    }
