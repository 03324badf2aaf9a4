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

    def __reduce__(self) -> tuple[type[DataError], tuple[str, str, str]]:
        # Exceptions are rebuilt from `args` by default, which would lose the fields on the way out of a worker process.
        return type(self), (self.problem.file, self.problem.what, self.problem.remedy)


@dataclass(frozen=True)
class AuditResult:
    """What an audit of a data set found.

    Attributes:
        problems: Every defect, in the order of the files; empty when the data can be used as it is.
        counts: Named totals: usable samples of each split that was looked at, boxes.
        notes: What the reader repairs by itself; nothing needs to be done.
    """

    problems: list[Problem]
    counts: dict[str, int]
    notes: tuple[Problem, ...] = ()
