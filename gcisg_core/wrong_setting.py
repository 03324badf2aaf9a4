"""Which setting of a config an error comes from: the frameworks say what is wrong with a value, but not where it is."""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from types import TracebackType
from typing import Any

from gcisg_core.problems import DataError, reason

WRONG_VALUE = (TypeError, ValueError, AttributeError, AssertionError)  # what a constructor raises of a wrong value
NUMBERS = (int, float)
# Of a constructor whose arguments the settings are not.
ARGUMENTS = re.compile(r"\) (got an unexpected keyword argument '(?P<name>\w+)'|missing \d+ required)")


class SettingError(ValueError):
    """A setting has a value that cannot be used. The message names file and key."""


@contextmanager
def naming_settings(
    file: object,
    read: Callable[[Sequence[str]], Mapping[str, Any]],
    overrides: Sequence[str],
    builders: Collection[str],
) -> Iterator[None]:
    """Turn an error of a wrong value into one that names its key, where it can be told from the traceback.

    Looked for in the variables of the traceback: what an override changed to another type; and, while something is
    built from the config, the innermost setting of the same value.

    Args:
        file: The config's.
        read: Overrides -> the config as plain containers; called after an error alone.
        overrides: ``key=value`` each.
        builders: Names of the functions that build an object from its settings.

    Raises:
        SettingError: a value was found; the message has the file, the key, the value and the error. Other errors pass.
    """
    try:
        yield
    except (SettingError, DataError):
        raise
    except WRONG_VALUE as error:
        found = None
        with suppress(Exception):  # whatever fails here, the error itself is the better message
            found = _find(error, read(overrides), read([]) if overrides else {}, overrides, builders)
            if found is None and isinstance(error, TypeError) and _is_building(error, builders):
                found = _unknown(error, read(overrides))
        if found is None or (found[0] and found[0] in str(error)):
            raise
        if not found[0]:
            raise SettingError(f"{file}: {reason(error)}") from error
        expected = f", expected a value as {found[2]!r}" if len(found) > 2 else ""
        raise SettingError(f"{file}: {found[0]} is {found[1]!r}{expected} ({reason(error)})") from error


def _find(
    error: BaseException,
    settings: Mapping[str, Any],
    before: Mapping[str, Any],
    overrides: Sequence[str],
    builders: Collection[str],
) -> tuple[Any, ...] | None:
    frames = [*_frames(error.__traceback__)]
    variables = [list(frame.f_locals.items()) for frame in frames]
    variables.append([*getattr(frames[-1].f_locals.get("self"), "__dict__", {}).items()])
    for override in overrides:
        key = override.partition("=")[0]
        value, old = _at(settings, key), _at(before, key)
        if old is None or _kind(value) == _kind(old):
            continue
        if any(_same(value, v) for each in variables for _, v in each) or _names_text(error, value):
            return key, value, old
    own = frames[-1].f_globals.get("__name__", "").startswith("gcisg_")
    started = next((n for n, frame in enumerate(frames) if frame.f_code.co_name in builders), None)
    if started is None or (own and isinstance(error, ValueError)):  # what this project refuses has its own words
        return None
    unknown = re.search(r"unexpected keyword argument '(\w+)'", str(error))
    if unknown is not None:  # a value that is said to be wrong in that place would mislead
        return next(((key, value) for key, value in _all(settings) if key.rpartition(".")[2] == unknown[1]), None)
    leaves = [(key, value) for key, value in _leaves(settings) if not key.endswith(".type")]
    inner = [pair for each in reversed(variables[started:]) for pair in each]
    if not isinstance(error, ValueError):  # text goes on under other names: num_classes is the out_features of a layer
        for _, value in inner:
            for key, leaf in leaves:
                if isinstance(leaf, str) and _same(leaf, value):
                    return key, leaf
    for name, value in inner:
        for key, leaf in leaves:
            if key.rpartition(".")[2] == name and _same(leaf, value):
                return key, leaf
    return None


def _is_building(error: BaseException, builders: Collection[str]) -> bool:
    return any(frame.f_code.co_name in builders for frame in _frames(error.__traceback__))


def _unknown(error: TypeError, settings: Mapping[str, Any]) -> tuple[Any, ...] | None:
    """The setting that a constructor does not take; an empty key for one that it lacks. None for other errors."""
    found = ARGUMENTS.search(str(error))
    if found is None:
        return None
    places = re.compile(rf"(.*\.)?{found['name']}(?=\.|$)")
    keys = (place[0] for key, _ in _leaves(settings) if found["name"] and (place := places.match(key)))
    key = next(keys, "")
    return key, _at(settings, key)


def _names_text(error: BaseException, value: Any) -> bool:
    return isinstance(error, TypeError) and isinstance(value, str) and re.search(r"\bstr\b", str(error)) is not None


def _frames(trace: TracebackType | None) -> Iterator[Any]:
    while trace is not None:
        yield trace.tb_frame
        trace = trace.tb_next


def _at(settings: Any, key: str) -> Any:
    for part in key.split("."):
        if isinstance(settings, list | tuple):
            settings = dict(enumerate(settings)).get(int(part)) if part.isdecimal() else None
        else:
            settings = settings.get(part) if isinstance(settings, Mapping) else None
    return settings


def _kind(value: Any) -> str:
    if isinstance(value, NUMBERS):
        return "number"
    return "list" if isinstance(value, list | tuple) else type(value).__name__


def _same(leaf: Any, value: Any) -> bool:
    if not isinstance(leaf, str | int | float | list | tuple | dict) or type(leaf) is not type(value):
        return False
    with suppress(Exception):  # of lists of tensors
        return bool(leaf == value)
    return False


def _all(value: Any, path: str = "") -> Iterator[tuple[str, Any]]:
    if path:
        yield path, value
    if isinstance(value, Mapping | list | tuple):
        for key, inner in value.items() if isinstance(value, Mapping) else enumerate(value):
            yield from _all(inner, f"{path}.{key}" if path else str(key))


def _leaves(value: Any, path: str = "") -> Iterator[tuple[str, Any]]:
    if isinstance(value, Mapping | list | tuple):
        for key, inner in value.items() if isinstance(value, Mapping) else enumerate(value):
            yield from _leaves(inner, f"{path}.{key}" if path else str(key))
    else:
        yield path, value
