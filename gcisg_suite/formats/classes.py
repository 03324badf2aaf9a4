"""The file with the names of the classes, and perhaps their colours."""

from __future__ import annotations

from pathlib import Path

from gcisg_suite.text import read_lines


def read_classes(path: Path) -> tuple[list[str], list[tuple[int, int, int]] | None]:
    """Names and colours of a file with a line a class, `name` or `name R G B`, in the order of the label values.

    Raises:
        ValueError: a line has another form, or only some lines have a colour.
    """
    names, colours = [], []
    for number, line in enumerate(read_lines(path), start=1):
        words = line.split()
        if not words:
            continue
        values = [int(word) for word in words[-3:] if word.isdigit() and int(word) < 256]
        if len(words) > 3 and len(values) == 3:
            colours.append((values[0], values[1], values[2]))
            words = words[:-3]
        elif colours or any(word.isdigit() for word in words[1:]):
            raise ValueError(f"{path} line {number}: {line!r}, expected the form 'name' or 'name R G B' in every line")
        names.append(" ".join(words))
    if not names or len(colours) not in (0, len(names)) or len(set(names)) < len(names):
        raise ValueError(
            f"{path}: expected a line a class, each with another name, and all or none with a colour R G B"
        )
    return names, colours or None
