"""What the parts of benchmarks/gpu.py are given, and the process that each of them runs in.

A part that fails, hangs or takes the device down with it takes nothing else along: it is a process, its rows come as
they are measured, and it ends when its time is over.
"""

from __future__ import annotations

import os
import sys
import time
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from multiprocessing.connection import Connection
from multiprocessing.context import BaseContext
from pathlib import Path
from typing import Any, NamedTuple

Row = dict[str, Any]
GRACE = 5  # seconds for a part to end by itself


class NoTimeError(Exception):
    """A measurement would not end in time."""


class Settings(NamedTuple):
    """Of a run: the device, whether in miniature, and when it ends by :func:`time.monotonic`."""

    device: str
    tiny: bool
    end: float


class Run(NamedTuple):
    """What a part is given.

    Attributes:
        settings: Of the run; ``end`` is that of the part.
        emit: Takes the name of a table and a row of it, as soon as it is measured.
    """

    settings: Settings
    emit: Callable[[str, Row], None]

    def left(self) -> float:
        """Seconds."""
        return self.settings.end - time.monotonic()

    def need(self, seconds: float) -> None:
        """Raises `NoTimeError` where less than this is left."""
        if self.left() < seconds:
            raise NoTimeError(f"not run: {max(self.left(), 0):.0f} s left, about {seconds:.0f} s needed")

    @contextmanager
    def guarded(self, table: str, **what: Any) -> Iterator[Row]:
        """A row to fill in; an error is put in it, its traceback in the list of problems, and the part continues."""
        row: Row = dict(what)
        try:
            yield row
        except NoTimeError as error:
            row["problem"] = str(error)
        except Exception as error:
            row["problem"] = f"{type(error).__name__}: {error}".splitlines()[0][:120]
            self.emit("problems", {"where": f"{table}, {', '.join(map(str, what.values()))}",
                                   "traceback": traceback.format_exc()})  # fmt: skip
        self.emit(table, row)


class Part(NamedTuple):
    """One of the parts.

    Attributes:
        name: Of the part.
        run: Measures.
        least: Seconds on a GPU without which it is not begun.
        most: Seconds that it may take.
    """

    name: str
    run: Callable[[Run], None]
    least: float
    most: float


def _work(part: Part, settings: Settings, log: Path, connection: Connection) -> None:
    """In the process of a part: what it prints, and what libraries print, goes to the log."""
    with log.open("ab", buffering=0) as file:
        for stream in (sys.stdout, sys.stderr):
            stream.flush()
            os.dup2(file.fileno(), stream.fileno())
    print(f"\n===== {part.name}", flush=True)
    try:
        part.run(Run(settings, lambda table, row: connection.send((table, row))))
    except Exception as error:
        connection.send(("problems", {"where": part.name, "traceback": traceback.format_exc()}))
        connection.send((None, f"failed: {type(error).__name__}: {error}".splitlines()[0][:200]))
    else:
        print(f"===== {part.name}: {time.process_time():.1f} s of CPU", flush=True)
        connection.send((None, "done"))
    sys.stdout.flush()


def run_part(
    part: Part, settings: Settings, log: Path, context: BaseContext, take: Callable[[str, Row], None]
) -> tuple[str, float]:
    """Run a part in a process of its own; returns ``done``, or what went wrong, and the seconds it took.

    Args:
        part: The part.
        settings: Of the run.
        log: Where its output is appended.
        context: How processes start.
        take: Is given each table's name and row.
    """
    start = time.monotonic()
    if settings.end - start < (0 if settings.tiny else part.least):
        return f"not run: {max(settings.end - start, 0):.0f} s left, at least {part.least:.0f} s needed", 0.0
    if not settings.tiny:
        settings = settings._replace(end=min(settings.end, start + part.most))
    ours, theirs = context.Pipe(duplex=False)
    process: Any = context.Process(target=_work, args=(part, settings, log, theirs))  # type: ignore[attr-defined]
    process.start()
    theirs.close()
    status = ""
    try:
        while not status and ours.poll(max(0.0, settings.end + GRACE - time.monotonic())):
            table, content = ours.recv()
            if table is None:
                status = content
            else:
                take(table, content)
        status = status or f"failed: its time was over after {time.monotonic() - start:.0f} s"
    except EOFError:
        process.join()
        status = f"failed: its process ended with the exit status {process.exitcode}; see {log.name}"
    process.join(GRACE if status == "done" else 0)
    if process.is_alive():
        process.kill()
    process.join()
    return status, time.monotonic() - start
