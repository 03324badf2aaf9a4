"""What a page says of its own making: the command, the date, the versions."""

from __future__ import annotations

import platform
from collections.abc import Sequence
from contextvars import ContextVar
from datetime import datetime

from gcisg_core.integrations.openmmlab import DISTRIBUTIONS, distributions, installed
from gcisg_core.shell import gcisg_command

OPENMMLAB = (name for module in DISTRIBUTIONS for name in distributions(module))
PACKAGES = ("gcisg", "torch", "torchvision", "timm", *OPENMMLAB, "detectron2", "detectron2-cdo")
_called: ContextVar[tuple[str, ...]] = ContextVar("called", default=())


def note_command(words: Sequence[str]) -> None:
    """Keep what `gcisg` was called with."""
    _called.set(tuple(words))


def facts() -> dict[str, str]:
    """Rows of a page's head: how it was made, when, and by which versions."""
    command = {"Command": gcisg_command(*_called.get())} if _called.get() else {}
    versions = {"Python": platform.python_version(), **installed(PACKAGES)}
    return {
        **command,
        "Date": datetime.now().astimezone().strftime("%Y-%m-%d %H:%M %Z"),
        "Versions": ", ".join(f"{name} {version}" for name, version in versions.items()),
    }
