"""Reads the documents: their fenced blocks and commands; and runs a command as a user would, in this process."""

from __future__ import annotations

import re
import runpy
import shlex
import sys
from pathlib import Path
from typing import NamedTuple

import pytest

ROOT = Path(__file__).parents[1]
SHELLS = ("", "console", "sh", "bash", "shell")
PROGRAMS = ("python", "make", "pip", "gcisg ")


class Block(NamedTuple):
    """A fenced block: its language and what is in it."""

    language: str
    text: str


def blocks(document: str) -> list[Block]:
    return [Block(*found) for found in re.findall(r"^```(\w*)\n(.*?)^```", (ROOT / document).read_text(), re.M | re.S)]


def commands(document: str) -> list[str]:
    """The commands in fenced blocks, and those in the text that are complete; comments are cut off."""
    text = (ROOT / document).read_text()
    fenced = [line for block in blocks(document) if block.language in SHELLS for line in block.text.splitlines()]
    prose = re.sub(r"^```.*?^```", "", text, flags=re.M | re.S)
    inline = [" ".join(found.split()) for found in re.findall(r"`([^`]+)`", prose)]
    lines = [re.sub(r"\s+#.*", "", line).strip() for line in [*fenced, *(text for text in inline if " " in text)]]
    return [line for line in lines if re.match(rf"(\w+=\S+ )*({'|'.join(PROGRAMS)})", line)]


def run(command: str, *more: str) -> int:
    """Run `python FILE ...` or `gcisg ...` in this process, as a program of its own; returns the exit status.

    Args:
        command: Starts with `python` or `gcisg`.
        more: Arguments that make it small.
    """
    words = [*shlex.split(command), *more]
    assert words[0] in ("python", "gcisg"), command
    script, *arguments = words[1:] if words[0] == "python" else ["gcisg_suite/__main__.py", *words[1:]]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys, "argv", [script, *arguments])
        patch.syspath_prepend(str((ROOT / script).parent))
        try:
            runpy.run_path(str(ROOT / script), run_name="__main__")
        except SystemExit as stop:
            if isinstance(stop.code, str):  # the program's own message
                print(stop.code, file=sys.stderr)
                return 1
            return stop.code or 0
    return 0
