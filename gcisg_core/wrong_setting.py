"""Finds the config key behind an error: the frameworks describe the wrong value, but not its key."""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from types import TracebackType
from typing import Any

from gcisg_core.problems import DataError, reason

WRONG_VALUE = (TypeError, ValueError, AttributeError, AssertionError)  # what constructors raise for a wrong value
NUMBERS = (int, float)
# Raised if the settings are not a constructor's arguments.
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
    """Turn the error of a wrong value into one that names its key, if the traceback shows it.

    The variables of the traceback are searched for a value whose type an override changed and, while something is
    built from the config, for the innermost setting with the same value.

    Args:
        file: The config file.
        read: Overrides -> the config as plain containers; called only after an error.
        overrides: A list of ``key=value``.
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
        with suppress(Exception):  # if this search fails, the original error is the better message
            found = _find(error, read(overrides), read([]) if overrides else {}, overrides, builders)
            if found is None and isinstance(error, TypeError) and _is_building(error, builders):
                found = _unknown(error, read(overrides))
        if found is None or (found[0] and found[0] in str(error)):
            raise
        if not found[0]:
            raise SettingError(f"{file}: {reason(error)}") from error
        expected = f", expected a value like {found[2]!r}" if len(found) > 2 else ""
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
    if started is None or (own and isinstance(error, ValueError)):  # this project's messages are clear
        return None
    unknown = re.search(r"unexpected keyword argument '(\w+)'", str(error))
    if unknown is not None:  # a value reported for the wrong key would mislead
        return next(((key, value) for key, value in _all(settings) if key.rpartition(".")[2] == unknown[1]), None)
    leaves = [(key, value) for key, value in _leaves(settings) if not key.endswith(".type")]
    inner = [pair for each in reversed(variables[started:]) for pair in each]
    # Names of texts change on the way: num_classes becomes the out_features of a layer.
    if not isinstance(error, ValueError):
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
    """The setting that a constructor does not accept; an empty key for a missing one. None for other errors."""
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
