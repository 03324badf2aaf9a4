"""The commands on the folders `syn` and `real`, in this process."""

import sys
from pathlib import Path

from gcisg_suite.cli import main
from tests.formats import folders, streets


def new_project(task, *more):
    command = ["new-project", "--task", task, "--synthetic", "syn", "--real", "real", "--output", "out"]
    return gcisg(*command, "--workers", "1", *more)


def gcisg(*words):
    """The exit status of a command; its last words go to standard error."""
    try:
        main([*words])
    except SystemExit as end:
        if isinstance(end.code, str):
            print(end.code, file=sys.stderr)
            return 1
        return end.code or 0
    return 0


def make(maker):
    for name in ("syn", "real"):
        getattr(folders, maker, getattr(streets, maker, None))(Path(name))
