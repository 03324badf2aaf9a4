"""The user's own code in a `.yaml` config: modules that register models or data, and functions that add keys."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from importlib import import_module
from typing import Any

import yaml
from detectron2.config import CfgNode

from gcisg_core.problems import DataError, reason

KEY = "CUSTOM_IMPORTS"
EXPECTED = 'a list of "module" and "module:add_..." (a function of cfg that adds keys)'


def named(contents: Sequence[Mapping[str, Any]], overrides: Sequence[Any], file: object) -> list[str]:
    """The names of what a config imports.

    Args:
        contents: The contents of its files, base files last.
        overrides: Alternating keys and values.
        file: The config.

    Raises:
        DataError: the value is not a list of strings.
    """
    found: Any = next((content[KEY] for content in contents if KEY in content), [])
    if KEY in overrides[::2]:
        found = overrides[overrides[::2].index(KEY) * 2 + 1]
        found = yaml.safe_load(found) if isinstance(found, str) else found
    if not isinstance(found, list | tuple) or not all(isinstance(name, str) for name in found):
        raise DataError(file, f"{KEY} is {found!r}, expected {EXPECTED}", "Correct it")
    return list(found)


def load(names: Sequence[str], file: object) -> None:
    """Import the modules.

    Raises:
        DataError: a module cannot be imported.
    """
    for name in names:
        try:
            import_module(name.partition(":")[0])
        except Exception as error:  # importing the user's module may raise anything
            what = f"{KEY} {name!r} cannot be imported ({type(error).__name__}: {reason(error)})"
            raise DataError(file, what, "Install the module, or start in its folder with PYTHONPATH=.") from error


def add_keys(cfg: CfgNode, names: Sequence[str], file: object) -> None:
    """Let the functions add their keys to the defaults.

    Raises:
        DataError: a function does not exist, or its name does not begin with `add_`.
    """
    for name in names:
        module, _, function = name.partition(":")
        if function:
            add = getattr(import_module(module), function, None)
            if not function.startswith("add_") or not callable(add):
                raise DataError(file, f"{KEY} has {name!r}, expected {EXPECTED}", "Correct it")
            add(cfg)


def trainer(name: str, base: type, file: object) -> type:
    """The class of `CUSTOM_TRAINER`, `module:Class`; ``base`` if it names none.

    Raises:
        DataError: the class cannot be imported, or is not derived from ``base``.
    """
    if not name:
        return base
    load([name], file)
    module, _, found = name.partition(":")
    chosen = getattr(import_module(module), found, None)
    if not isinstance(chosen, type) or not issubclass(chosen, base):
        what = f'CUSTOM_TRAINER is {name!r}, expected "module:Class" of a class derived from {base.__module__}.Trainer'
        raise DataError(file, what, "Name such a class, derived from that Trainer instead of DefaultTrainer")
    return chosen
