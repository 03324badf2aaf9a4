"""Commands that are printed for people to paste."""

from __future__ import annotations

import shlex
import shutil
import sys
from pathlib import Path


def command_line(*words: object) -> str:
    """The words as a line for a shell, those with spaces or other special characters quoted."""
    return shlex.join(map(str, words))


def gcisg_command(*words: object) -> str:
    """A command of `gcisg` as a line for the shell in which this program was started."""
    return command_line(*_program(), *words)


def _program() -> list[object]:
    """`gcisg` where the shell finds that of this interpreter, else its path, else the interpreter with the package."""
    own, found = Path(sys.executable).with_name("gcisg"), shutil.which("gcisg")
    if found and Path(found).absolute() == own.absolute():
        return ["gcisg"]
    return [own] if own.is_file() else [sys.executable, "-m", "gcisg_suite"]
