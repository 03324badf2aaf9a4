"""Looks names up; the error for an unknown name suggests the nearest valid one."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Mapping
from typing import TypeVar

T = TypeVar("T")


def unknown_name(name: object, valid: Iterable[object], what: str) -> ValueError:
    """Build the error for an invalid name; ``what`` is what it names ("pooling")."""
    names = sorted(map(str, valid))
    near = difflib.get_close_matches(str(name), names, n=1, cutoff=0.0)
    hint = f"Did you mean {near[0]!r}? " if near else ""
    return ValueError(f"unknown {what} {name!r}. {hint}Valid: {', '.join(names)}")


def choose(table: Mapping[str, T], name: str, what: str) -> T:
    """``table[name]``.

    Raises:
        ValueError: ``name`` is not in the table; the message gives the nearest name that is.
    """
    if name not in table:
        raise unknown_name(name, table, what)
    return table[name]
