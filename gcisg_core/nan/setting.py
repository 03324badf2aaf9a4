"""`on_nonfinite`, the recorder's setting, which earlier versions had among the method's settings."""

from __future__ import annotations

import warnings
from typing import Any

from gcisg_core.config import require

NAME = "on_nonfinite"


def check(value: str | None, name: str = NAME) -> None:
    """Raise a ValueError unless the value is ``stop``, ``skip`` or None (not set)."""
    require(value in ("stop", "skip", None), name, value, "'stop' or 'skip'")


def take_earlier(values: dict[str, Any]) -> str | None:
    """Remove the setting from a method's values, its earlier place, with a warning.

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
            stacklevel=1,  # always this line, so that a run shows the warning once
        )
    return value


def settle(asked: str | None, earlier: str | None) -> str:
    """The effective value: the hook's setting, or the one in the method's values; ``stop`` by default.

    Raises:
        ValueError: the hook's value is neither ``stop`` nor ``skip``, or the two differ.
    """
    check(asked)
    if None not in (asked, earlier) and asked != earlier:
        raise ValueError(
            f"on_nonfinite is {asked!r} for the hook and {earlier!r} among the method's settings, its earlier place. "
            "Remove it there"
        )
    return asked or earlier or "stop"
