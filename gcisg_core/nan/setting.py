"""`on_nonfinite`, the recorder's one setting, and the earlier place of it among the settings of the method."""

from __future__ import annotations

import warnings
from typing import Any

from gcisg_core.config import require

NAME = "on_nonfinite"


def check(value: str | None, name: str = NAME) -> None:
    """Raise a ValueError that names it, unless the value is ``stop``, ``skip`` or None (not set)."""
    require(value in ("stop", "skip", None), name, value, "'stop' or 'skip'")


def take_earlier(values: dict[str, Any]) -> str | None:
    """Take the setting out of a method's values, where earlier versions had it, with a warning.

    Raises:
        ValueError: it is neither ``stop`` nor ``skip``.
    """
    value: str | None = values.pop(NAME, None)
    check(value)
    if value is not None:
        warnings.warn(
            f"on_nonfinite is a setting of the hook now, not of the method: custom_hooks=[dict(type='RegularizerHook', "
            f"on_nonfinite={value!r})] (mmengine), REGULARIZER.HOOK.ON_NONFINITE {value} (Detectron2)",
            FutureWarning,
            stacklevel=1,  # of this line whoever reads the values, so that a run shows it once
        )
    return value


def settle(asked: str | None, earlier: str | None) -> str:
    """What holds: the hook's setting, or the one of the method's values; ``stop`` by default.

    Raises:
        ValueError: the hook's value is neither ``stop`` nor ``skip``, or the two differ.
    """
    check(asked)
    if None not in (asked, earlier) and asked != earlier:
        raise ValueError(
            f"on_nonfinite is {asked!r} for the hook and {earlier!r} among the method's settings, its earlier place. "
            "Leave it out there"
        )
    return asked or earlier or "stop"
