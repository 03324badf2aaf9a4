"""The command `gcisg`. Each subcommand is imported when it is called, and heavy packages only after its arguments have
been checked."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from importlib import metadata
from io import TextIOWrapper
from pathlib import Path
from typing import NoReturn

from cyclopts import App, CycloptsError, MissingArgumentError, Parameter

from gcisg_core.problems import worker_message
from gcisg_core.screen import ONE_LINE_ERRORS
from gcisg_core.workers import end_workers
from gcisg_suite.about import note_command
from gcisg_suite.commands.arguments import UsageError

# Each name is a module of `gcisg_suite.commands` and a function in it; FUNCTIONS lists the exceptions.
COMMANDS = ("train", "eval", "predict", "export", "analyze", "replay", "select", "report", "audit", "new-project",
            "sweep", "zoo", "prepare", "demo", "doctor", "bench")  # fmt: skip
FUNCTIONS = {"eval": "evaluate", "zoo": "app"}
# Flags of earlier versions, not shown in --help. One with no new name is dropped: its values are positional now.
OLD_FLAGS = {"--out": "--output", "--work-dir": "--output", "--overrides": ""}


def version() -> str:
    """The version of the installed package."""
    try:
        return metadata.version("gcisg")
    except metadata.PackageNotFoundError:
        return "not installed"


app = App(
    name="gcisg",
    help="Guided causal-invariant learning on synthetic images, for Detectron2 and MMSegmentation.",
    version=version,
    default_parameter=Parameter(negative=(), allow_repeating=True),
    help_format="markdown",
)
for _name in COMMANDS:
    _module = _name.replace("-", "_")
    app.command(f"gcisg_suite.commands.{_module}:{FUNCTIONS.get(_name, _module)}", name=_name)
app.register_install_completion_command()


def current(tokens: Sequence[str]) -> list[str]:
    """A command line with the flags of earlier versions replaced by those of today."""
    given = list(tokens)
    result: list[str] = []
    for number, token in enumerate(given):
        if token == "--":
            return [*result, *given[number:]]
        flag, equals, value = token.partition("=")
        if flag == "--replay" and given[0] == "analyze":
            return ["replay", *([value] if equals else given[number + 1 : number + 2])]
        if flag in OLD_FLAGS:
            result += [OLD_FLAGS[flag] + equals + value] if OLD_FLAGS[flag] else []
        else:
            result.append(token)
    return result


def main(tokens: Sequence[str] | None = None) -> None:
    """Run a command line, by default the program's own.

    Raises:
        SystemExit: with 2 for a wrong command line, with one line for any other error that the user can fix, or
            with the command's own status if it is not 0. All other errors keep their traceback.
    """
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")  # for file names that the terminal's encoding lacks
    given = current(sys.argv[1:] if tokens is None else tokens)
    note_command(given)
    if not given or given[0] in ("--help", "-h"):
        for name in COMMANDS:
            app[name]  # --help shows a description only for loaded subcommands
    try:
        status = app(
            given,
            exit_on_error=False,
            print_error=False,
            result_action="return_value",
        )
    except MissingArgumentError as error:  # cyclopts has one message for a missing flag and for a flag without a value
        _refuse(str(error) if error.keyword else str(error).replace("requires an argument", "is missing"))
    except (CycloptsError, UsageError) as error:
        _refuse(str(error))
    except ONE_LINE_ERRORS as error:
        sys.exit(f"error: {worker_message(str(error))}")
    finally:
        end_workers()
    if status:
        sys.exit(status)


def _refuse(message: str) -> NoReturn:
    print(f"error: {message}", file=sys.stderr)
    sys.exit(2)


def alias() -> None:
    """The commands of earlier versions: `gcisg-train` is `gcisg train`."""
    main([Path(sys.argv[0]).stem.removeprefix("gcisg-"), *sys.argv[1:]])
