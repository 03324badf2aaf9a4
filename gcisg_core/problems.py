"""What is wrong with a data set, in a form that people and programs can read."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Problem:
    """One defect of one file.

    Attributes:
        file: The file or folder at fault.
        what: What is wrong: the field and the value found, and what was expected.
        remedy: What the user can do about it.
    """

    file: str
    what: str
    remedy: str

    def __str__(self) -> str:
        return f"{self.file}: {self.what}. {self.remedy}"


class DataError(ValueError):
    """A data set cannot be used as it is. Carries the problem that was found."""

    def __init__(self, file: object, what: str, remedy: str) -> None:
        self.problem = Problem(str(file), what, remedy)
        super().__init__(str(self.problem))


@dataclass(frozen=True)
class AuditResult:
    """What an audit of a data set found.

    Attributes:
        problems: Every defect; empty when the data can be used as it is.
        counts: Usable samples of each split that was looked at.
    """

    problems: list[Problem]
    counts: dict[str, int]
