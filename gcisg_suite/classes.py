"""The classes of your own data: names given one by one, or a file with one class per line."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

from gcisg_suite.text import read_lines

Colour = tuple[int, int, int]
TEXT = (".txt", ".csv", ".names")
FORM = "'name' or 'name R G B' in every line"
APART = r"[\s,;]+"
HEX, DECIMAL = "#" + 3 * "([0-9a-fA-F]{2})", APART.join(3 * [r"(\d{1,3})"])
NUMBERED = re.compile(rf"(\d+)(?::|{APART})\s*(\D.*)")
COLOURED = re.compile(rf"(\S.*?){APART}(?:{HEX}|{DECIMAL})")


def named_classes(given: Sequence[str]) -> tuple[list[str], list[Colour] | None]:
    """Names and colours, in the order of the label values.

    Args:
        given: The names, or the path of one file; see :func:`read_classes`.

    Raises:
        ValueError: as :func:`read_classes`, or a name is given twice.
    """
    # A missing text file is an error; anything else, such as "St. Bernard" or "car/van", is a class.
    if len(given) == 1 and (Path(given[0]).is_file() or Path(given[0]).suffix in TEXT):
        return read_classes(Path(given[0]))
    if repeated := sorted({name for name in given if [*given].count(name) > 1}):
        raise ValueError(f"--classes names {', '.join(repeated)} more than once")
    return [*given], None


def read_classes(path: Path) -> tuple[list[str], list[Colour] | None]:
    """Names and colours from a file with one class per line, in the order of the label values.

    A line is `name`, `name R G B`, `name,R,G,B` or `name #rrggbb`; empty lines and comments (#) are skipped.
    If each line begins with a number, it is the label value.

    Raises:
        ValueError: a line has another form, only some lines have a colour, or the numbers are not 0, 1, 2 ...
    """
    names: list[str] = []
    colours: list[Colour] = []
    for number, line in _by_value(path):
        found = COLOURED.fullmatch(line)
        values = [int(each, 16 if found[2] else 10) for each in found.groups()[1:] if each] if found else []
        if found and max(values) < 256:
            colours.append((values[0], values[1], values[2]))
        elif colours or any(word.isdecimal() for word in re.split(APART, line)[1:]):
            raise ValueError(f"{path} line {number}: {line!r}, expected the form {FORM}")
        names.append(" ".join((found[1] if found else line).split()))
    if not names or len(colours) not in (0, len(names)) or len(set(names)) < len(names):
        raise ValueError(
            f"{path}: expected one line for each class, each with a different name, and a colour R G B on all lines or "
            "on none"
        )
    return names, colours or None


def _by_value(path: Path) -> list[tuple[int, str]]:
    """The lines with a class and their line numbers, in the order of the label values."""
    stripped = enumerate(map(str.strip, read_lines(path)), start=1)
    lines = [(at, line) for at, line in stripped if line[:1] not in ("", "#")]
    numbered = [NUMBERED.fullmatch(line) for _, line in lines]
    if not lines or not all(numbered):
        return lines
    found = sorted((int(each[1]), at, each[2]) for each, (at, _) in zip(numbered, lines, strict=True) if each)
    if [value for value, *_ in found] != [*range(len(found))]:
        raise ValueError(f"{path}: each line begins with a number; expected the label values 0 to {len(found) - 1}")
    return [(at, name) for _, at, name in found]
