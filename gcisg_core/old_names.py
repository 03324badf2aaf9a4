"""Earlier names of config keys and tensors, so that older configs and checkpoints can still be read."""

from __future__ import annotations

import functools
import warnings
from collections.abc import Mapping, MutableMapping
from typing import Any, TypeVar

C = TypeVar("C", bound=type)

# Earlier -> current name: fields of a method's settings, arguments of models, and first parts of a method's tensors.
SETTINGS = {
    "tau_target": "tau_momentum",
    "target_update": "momentum_update",
    "grid": "patches",
    "in_turn": "sequential_enqueue",
}
ARGUMENTS = {"changes": "backbone_plugins", "least_match": "min_match_ratio"}
TENSORS = {"target.": "momentum_encoder."}


def rename_keys(values: MutableMapping[str, Any], names: Mapping[str, str]) -> None:
    """Move values from earlier keys to the current ones, each with a warning; an earlier key takes precedence.

    The suite's configs have the current keys, so an earlier key in a config that inherits from them is an override.
    """
    for old in [name for name in names if name in values]:
        warn(old, names[old])
        values[names[old]] = values.pop(old)


def warn(old: str, new: str) -> None:
    """Warn once that a name has changed."""
    warnings.warn(f"the config key {old} is called {new} now; use the new name", FutureWarning, stacklevel=3)


def rename_model_keys(model: Any) -> None:
    """:func:`rename_keys` in every dictionary of a model's config."""
    items = model.values() if isinstance(model, dict) else model if isinstance(model, list | tuple) else ()
    for part in items:
        rename_model_keys(part)
    if isinstance(model, dict):
        rename_keys(model, ARGUMENTS)
        if isinstance(model.get("regularizer"), dict):
            rename_keys(model["regularizer"], SETTINGS)


def current_key(key: str) -> str:
    """The key of an override, ``model.a.b``, with the current names."""
    first, *rest = key.split(".")
    names = SETTINGS if "regularizer" in rest else ARGUMENTS
    renamed = ".".join([first, *(names.get(part, part) for part in rest)]) if first == "model" else key
    if renamed != key:
        warn(key, renamed)
    return renamed


def accept_old_arguments(cls: C) -> C:
    """Class decorator: the constructor takes :data:`ARGUMENTS` under their earlier names too."""
    construct = cls.__init__  # type: ignore[misc]

    @functools.wraps(construct)
    def construct_renamed(self: object, *args: Any, **kwargs: Any) -> None:
        rename_keys(kwargs, ARGUMENTS)
        construct(self, *args, **kwargs)

    cls.__init__ = construct_renamed  # type: ignore[misc]
    return cls


def rename_tensors(state: MutableMapping[str, Any], prefix: str) -> None:
    """Move the tensors of a method, whose names begin with ``prefix``, to the current names."""
    for old, new in TENSORS.items():
        for name in [name for name in state if name.startswith(prefix + old)]:
            state[prefix + new + name.removeprefix(prefix + old)] = state.pop(name)
