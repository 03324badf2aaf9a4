"""Commands that are printed for users to paste."""

from __future__ import annotations

import os
import shlex
import shutil
import sys
from pathlib import Path


def command_line(*words: object) -> str:
    """Join words to a shell command; words with special characters are quoted."""
    return shlex.join(map(str, words))


def pinned(name: str, extra: str = "") -> str:
    """Return the arguments of `pip install` for versions that were tested together.

    Args:
        name: A file of `requirements`, without `.txt`; the wheel holds them too.
        extra: The package's extra with the same packages, which is shorter to type where there is no checkout.
    """
    root = Path(__file__).resolve().parents[1]
    file = root / "requirements" / f"{name}.txt"
    if not file.is_file():
        if extra:
            return f"'gcisg[{extra}]'"
        file = root / "gcisg_configs" / "requirements" / f"{name}.txt"
    return command_line("-r", os.path.relpath(file) if file.is_relative_to(Path.cwd()) else file)


def gcisg_command(*words: object) -> str:
    """Return a `gcisg` command as a line for the shell in which this program was started."""
    return command_line(*_program(), *words)


def _program() -> list[object]:
    """`gcisg` if the shell finds that of this interpreter; otherwise its path, or the interpreter with the package."""
    own, found = Path(sys.executable).with_name("gcisg"), shutil.which("gcisg")
    if found and Path(found).absolute() == own.absolute():
        return ["gcisg"]
    return [own] if own.is_file() else [sys.executable, "-m", "gcisg_suite"]
