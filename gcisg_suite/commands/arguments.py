"""What the subcommands have in common: the same flag has the same name and meaning in all."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from cyclopts import Parameter

from gcisg_suite.places import find_config
from gcisg_suite.tasks import framework_of


class UsageError(Exception):
    """The command line is wrong; the message names the flag."""


Config = Annotated[str, Parameter(help="A .py (mmengine) or .yaml (Detectron2) config.")]
Overrides = Annotated[str, Parameter(help="key=value (mmengine) or KEY VALUE (Detectron2) config overrides.")]
Device = Annotated[str | None, Parameter(help="cpu, cuda, cuda:1, ... (by default cuda where there is one).")]
Flag = Annotated[bool, Parameter(show_default=False)]
Several = Parameter(consume_multiple=True)  # `--flag A B C`


def check_exists(flag: str, path: str | Path | None) -> None:
    """Refuse a path that is given but not there."""
    if path is not None and not Path(path).exists():
        raise UsageError(f"{flag} {path}: no such file or folder")


def check_file(flag: str, path: str | Path | None) -> None:
    """Refuse a file that is given but not there."""
    if path is not None and not Path(path).is_file():
        raise UsageError(f"{flag} {path}: no such file")


def check_at_least(flag: str, value: int, least: int = 1) -> None:
    """Refuse a number that is too small."""
    if value < least:
        raise UsageError(f"{flag} {value}: expected at least {least}")


def config_file(name: str) -> str:
    """The file of a config that a framework here can read."""
    file = find_config(name)
    try:
        framework_of(file)
    except ValueError as error:
        raise UsageError(f"--config {error}") from error
    check_file("--config", file)
    return file


def chosen_device(given: str | None) -> str:
    """The device that was asked for, or the best there is."""
    import torch

    return given or ("cuda" if torch.cuda.is_available() else "cpu")
