"""Starts the processes of a run. An error in one ends all of them; the starting process reports it once."""

from __future__ import annotations

import logging
import os
import re
import socket
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from datetime import timedelta
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, NamedTuple

import torch.multiprocessing as mp
from torch.multiprocessing.spawn import ProcessExitedException, ProcessRaisedException

from gcisg_core.problems import worker_message
from gcisg_core.screen import ONE_LINE_ERRORS

TIMEOUT = "GCISG_RANK_TIMEOUT"  # seconds
FIRST_ERROR = "GCISG_FIRST_ERROR"  # in a started process: the file for an error that ends it
SECONDS = 1800  # torch's default; a process may have to wait for another one that evaluates or downloads
# Messages of the backends if another process has ended or does not answer.
LOST = re.compile(
    r"Connection (closed|reset|refused)|Broken pipe|[Tt]imed out|[Tt]imeout|no data received|remote process"
)
SETTLE_SECONDS = 3  # so that the other process's error, the better message, is noticed first


def rank_timeout() -> timedelta:
    """How long a process waits for the others: `$GCISG_RANK_TIMEOUT` seconds, half an hour by default.

    Raises:
        ValueError: it is not a number above 0.
    """
    given = os.environ.get(TIMEOUT, str(SECONDS))
    if not re.fullmatch(r"[0-9]*[1-9][0-9]*", given):
        raise ValueError(f"{TIMEOUT} is {given!r}, expected a whole number of seconds above 0")
    return timedelta(seconds=int(given))


class Machines(NamedTuple):
    """The machines of a run; each starts the same number of processes.

    Attributes:
        number: How many.
        rank: The number of this machine, from 0.
        address: The address of machine 0, `tcp://HOST:PORT`; `auto` works only on a single machine.
    """

    number: int = 1
    rank: int = 0
    address: str = "auto"

    def host_and_port(self) -> tuple[str, str]:
        """Host and port at which the processes meet.

        Raises:
            ValueError: the address is invalid, or there is no machine of that number.
        """
        if not 0 <= self.rank < self.number:
            raise ValueError(f"--machine-rank {self.rank}: expected 0 to {self.number - 1}, as --num-machines says")
        if self.address == "auto":
            if self.number > 1:
                raise ValueError("--dist-url auto works on one machine; give tcp://<address of machine 0>:<free port>")
            with socket.socket() as probe:
                probe.bind(("127.0.0.1", 0))
                return "127.0.0.1", str(probe.getsockname()[1])
        found = re.fullmatch(r"tcp://(.+):(\d+)", self.address)
        if found is None:
            raise ValueError(f"--dist-url {self.address}: expected tcp://<address of machine 0>:<free port>")
        return found[1].strip("[]"), found[2]


ONE = Machines()


def launch(call: Callable[..., None], processes: int, *args: Any, machines: Machines = ONE) -> None:
    """Run `call(*args)` in several processes on this machine, connected as by torchrun.

    Args:
        call: A module-level function, because it is pickled.
        processes: The number of processes on this machine.
        *args: Arguments, the same for all.
        machines: All machines that run the same command.

    Raises:
        ValueError: a process failed with an error that the user can fix, or was killed; the others were ended.
    """
    rank_timeout()  # reports a wrong value before anything starts
    place = machines.host_and_port()
    os.environ.setdefault("OMP_NUM_THREADS", "1")  # else each would use all cores
    with said_once():
        mp.spawn(_rank, (processes, machines, place, partial(call, *args)), processes)


def _rank(local: int, processes: int, machines: Machines, place: tuple[str, str], call: Callable[[], None]) -> None:
    numbers = {"LOCAL_RANK": local, "LOCAL_WORLD_SIZE": processes}
    numbers |= {"RANK": machines.rank * processes + local, "WORLD_SIZE": machines.number * processes}
    os.environ.update({name: str(value) for name, value in numbers.items()})
    os.environ.update(MASTER_ADDR=place[0], MASTER_PORT=place[1])
    run_rank(call)


@contextmanager
def said_once() -> Iterator[None]:
    """For the starting process: raises the first error of :func:`run_rank` in a started process, once.

    Raises:
        ValueError: that error, or that a process was killed.
        SystemExit: with the traceback of any other error.
    """
    logging.getLogger("torch.multiprocessing.spawn").setLevel(logging.ERROR)  # that it ends the others
    with TemporaryDirectory(prefix="gcisg-") as folder:
        first = Path(folder) / "error"
        os.environ[FIRST_ERROR] = str(first)
        try:
            yield
        except Exception as error:
            if first.is_file():
                raise ValueError(first.read_text(encoding="utf-8")) from error
            if isinstance(error, ProcessRaisedException):
                raise SystemExit(str(error).strip()) from error  # the traceback is in it
            if isinstance(error, ProcessExitedException):
                how = f"was killed ({error.signal_name})" if error.signal_name else f"ended with {error.exit_code}"
                what = f"process {error.error_index} {how}, so the others were ended"
                raise ValueError(f"{what}. --resume continues from the last checkpoint") from error
            raise
        finally:
            del os.environ[FIRST_ERROR]


def run_rank(call: Callable[[], None]) -> None:
    """For a started process: errors that the user can fix, and lost processes, are reported by the starting process.

    Raises:
        SystemExit: with 1, after an error that the starting process reports. Other errors pass.
    """
    try:
        call()
    except ONE_LINE_ERRORS as error:
        if "on another process is not finite" in str(error):  # which names its batch, and the file of its step
            time.sleep(SETTLE_SECONDS)
        _leave(worker_message(str(error)))
    except RuntimeError as error:
        if not LOST.search(str(error)):
            raise
        time.sleep(SETTLE_SECONDS)
        waited = f"processes wait {rank_timeout().seconds} s for each other, see {TIMEOUT}"
        what = f"a process of this run has stopped or does not answer ({str(error).splitlines()[0][:200]})"
        _leave(f"{what}; {waited}. --resume continues from the last checkpoint")


@contextmanager
def first_rank_speaks() -> Iterator[None]:
    """For processes started by torchrun: an error of all is reported once, by the first process of each machine.

    The others wait before they report it; torchrun ends them once the first has failed.
    """
    try:
        yield
    except ONE_LINE_ERRORS:
        if os.environ.get("LOCAL_RANK", "0") != "0" and not is_started():
            time.sleep(SETTLE_SECONDS)
        raise


def is_started() -> bool:
    """Whether the process that started this one reports the errors."""
    return FIRST_ERROR in os.environ


def _leave(message: str) -> None:
    with suppress(FileExistsError), Path(os.environ[FIRST_ERROR]).open("x", encoding="utf-8") as file:
        file.write(message)
    sys.exit(1)
