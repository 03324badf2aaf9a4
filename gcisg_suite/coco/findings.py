"""What a reader of annotations repaired, left out or refused: one line for each kind, with its count and examples."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from enum import Enum
from pathlib import Path

from gcisg_core.problems import EXAMPLES, DataError, Problem


class Level(Enum):
    """The consequence of a finding."""

    REPAIRED = "repaired"  # the meaning is certain: training continues, and the audit only notes it
    LEFT_OUT = "left out"  # training continues without it, or with a part of it; the audit reports a problem
    REFUSED = "refused"  # training does not start


@dataclass
class Finding:
    """All findings of one kind.

    Attributes:
        level: The consequence.
        kind: What was found and what was done, in the plural.
        remedy: What the user can do.
        count: How many there are.
        examples: The first of them: field, value, what was expected.
    """

    level: Level
    kind: str
    remedy: str
    count: int = 0
    examples: list[str] = field(default_factory=list)

    def problem(self, file: Path) -> Problem:
        """The problem that reports this kind."""
        shown = "; ".join(self.examples)
        what = f"{self.kind}: {self.count}" + (f", such as {shown}" if shown else "")
        return Problem(str(file), what, self.remedy, self.kind, self.count)


class Findings:
    """Collects findings by kind, in the order in which the kinds first occur.

    Args:
        file: The file that is read.
    """

    def __init__(self, file: Path) -> None:
        self.file = file
        self._kinds: dict[str, Finding] = {}

    def add(self, level: Level, kind: str, example: str, remedy: str, count: int = 1) -> None:
        """Add `count` findings of a kind."""
        finding = self._kinds.setdefault(kind, Finding(level, kind, remedy))
        finding.count += count
        if len(finding.examples) < EXAMPLES and example:
            finding.examples.append(example)

    def __iter__(self) -> Iterator[Finding]:
        return iter(self._kinds.values())

    def problems(self, *levels: Level) -> list[Problem]:
        """The problems of these levels; without arguments, of all levels."""
        return [finding.problem(self.file) for finding in self if not levels or finding.level in levels]

    def raise_refused(self) -> None:
        """Raise `DataError` with the first kind that was refused; its remedy says how many more there are."""
        refused = self.problems(Level.REFUSED)
        if refused:
            first = refused[0]
            more = f" ({len(refused) - 1} more kinds of faults: see the audit)" if len(refused) > 1 else ""
            raise DataError(first.file, first.what, first.remedy + more)
