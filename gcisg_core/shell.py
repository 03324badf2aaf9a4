"""Commands that are printed for users to paste."""

from __future__ import annotations

import shlex
import shutil
import sys
from pathlib import Path


def command_line(*words: object) -> str:
    """Join words to a shell command; words with special characters are quoted."""
    return shlex.join(map(str, words))


def gcisg_command(*words: object) -> str:
    """Return a `gcisg` command as a line for the shell in which this program was started."""
    return command_line(*_program(), *words)


def _program() -> list[object]:
    """`gcisg` if the shell finds that of this interpreter; otherwise its path, or the interpreter with the package."""
    own, found = Path(sys.executable).with_name("gcisg"), shutil.which("gcisg")
    if found and Path(found).absolute() == own.absolute():
        return ["gcisg"]
    return [own] if own.is_file() else [sys.executable, "-m", "gcisg_suite"]
