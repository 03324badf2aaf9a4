"""Commands that are printed for people to paste."""

from __future__ import annotations

import shlex


def command_line(*words: object) -> str:
    """The words as a line for a shell, those with spaces or other special characters quoted."""
    return shlex.join(map(str, words))
