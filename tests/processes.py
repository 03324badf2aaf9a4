"""Processes as forks of one that has loaded the large packages, which takes a new interpreter seconds each time."""

from __future__ import annotations

import multiprocessing
import os
import socket
from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch.multiprocessing import start_processes

from gcisg_suite.cli import main


def context() -> Any:
    """How processes of the tests start."""
    if torch.cuda.is_available():  # which torch refuses to forks of a process that has looked for one
        return multiprocessing.get_context("spawn")
    forks = multiprocessing.get_context("forkserver")
    forks.set_forkserver_preload(["torch", "torchvision", "mmengine.runner"])
    return forks


def spawn(run: Callable[..., None], args: Sequence[Any], nprocs: int, daemon: bool = False) -> None:
    """`torch.multiprocessing.spawn`, by such forks; an error of any of them is raised here."""
    start_processes(run, tuple(args), nprocs, daemon=daemon, start_method=context().get_start_method())


def on_two_ranks(run: Callable[..., None], *arguments: Any) -> None:
    """`run(rank, *arguments)` with rank 0 and 1."""
    spawn(run, arguments, 2)


def status_of(run: Callable[..., object], *arguments: Any) -> int | None:
    """The exit status of `run(*arguments)` in a process of its own; -9 where it was killed."""
    return _ended(_started(run, *arguments))


def start_command(*words: object, **environment: str) -> Any:
    """The process of its own in which `gcisg WORDS` runs."""
    return _started(_command, [*map(str, words)], {**os.environ, **environment})


def status_of_command(*words: object, **environment: str) -> int | None:
    """The exit status of `gcisg WORDS` in a process of its own."""
    return _ended(start_command(*words, **environment))


def _started(run: Callable[..., object], *arguments: Any) -> Any:
    process = context().Process(target=run, args=arguments)
    process.start()
    return process


def _ended(process: Any) -> int | None:
    process.join()
    code: int | None = process.exitcode
    return code


def command_on_two_ranks(*words: object) -> None:
    """`gcisg WORDS` in two processes, as a launcher starts them."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        place = {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(free.getsockname()[1]), "WORLD_SIZE": "2"}
        place["LOCAL_WORLD_SIZE"] = "2"
    on_two_ranks(_rank, [*map(str, words)], {**os.environ, **place})


def _rank(rank: int, words: list[str], environment: dict[str, str]) -> None:
    _command(words, {**environment, "RANK": str(rank), "LOCAL_RANK": str(rank)})


def _command(words: list[str], environment: dict[str, str]) -> None:
    os.environ.update(environment)  # the server has that of its own start
    main(words)
