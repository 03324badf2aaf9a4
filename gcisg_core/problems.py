"""Problems of a data set, in a form for users and programs."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

EXAMPLES = 3  # shown of each kind
LONGEST = 2000  # characters of the description
ABSENT_CLASS = "class that does not occur in the data"  # a kind; no obstacle to an evaluation


@dataclass(frozen=True)
class Problem:
    """One defect of one file.

    Attributes:
        file: The file or folder at fault.
        what: The problem: the field, the value found, and the expected value.
        remedy: How to fix it.
        kind: The text that problems of this kind share, if it is not `what` without names and numbers.
        count: The number of defects that this problem stands for.
    """

    file: str
    what: str
    remedy: str
    kind: str = ""
    count: int = 1

    def __post_init__(self) -> None:
        if len(self.what) > LONGEST:  # a value of the data can have any length
            object.__setattr__(self, "what", f"{self.what[: LONGEST // 2]} ... {self.what[-LONGEST // 2 :]}")

    def __str__(self) -> str:
        text = f"{self.file}: {self.what}. {self.remedy}"
        return text.replace("\n", "\\n")  # a file's name may have one; the message is a line


class DataError(ValueError):
    """A data set cannot be used as it is. Holds the problem that was found.

    torch raises a worker's exception again from its class and text. The error can therefore also be built from that
    text, and is the same with any number of workers.
    """

    def __init__(self, file: object, what: str = "", remedy: str = "") -> None:
        if not what:
            file, _, rest = worker_message(str(file)).partition(": ")
            what, _, remedy = rest.rpartition(". ")
        self.problem = Problem(str(file), what, remedy)
        super().__init__(str(self.problem))

    def __reduce__(self) -> tuple[type[DataError], tuple[str, str, str]]:
        # Exceptions are rebuilt from `args` by default, which would lose the fields on the way out of a worker process.
        return type(self), (self.problem.file, self.problem.what, self.problem.remedy)


class MissingPackageError(ImportError):
    """A setting needs a package, or a compiled part of one, that is not installed; the text says how to install it."""


def worker_message(text: str) -> str:
    """Extract a worker's message from torch's text with its traceback; return other texts unchanged."""
    found = re.match(r"Caught (\w+) in [^\n]*\.\nOriginal Traceback ", text)
    return re.split(rf"^(?:\w+\.)*{found[1]}: ", text, flags=re.MULTILINE)[-1].rstrip("\n") if found else text


@contextmanager
def reading(file: object, kind: str, remedy: str) -> Iterator[None]:
    """Turn any error of a decoder or parser into one that names the file; a `DataError` passes unchanged.

    Damaged files make decoders raise nearly anything: OSError, SyntaxError, struct.error, RecursionError, MemoryError.

    Args:
        file: The file that is read.
        kind: The expected content: "JSON", "an image".
        remedy: How to fix it.

    Raises:
        DataError: anything was raised.
    """
    try:
        yield
    except DataError:
        raise
    except Exception as error:
        raise DataError(file, f"cannot be read as {kind} ({reason(error)})", remedy) from error


def reason(error: object) -> str:
    """Return the text of an exception or value on one line of at most 200 characters; its class if there is no text."""
    text = " ".join(str(error).split())
    return (text if len(text) <= 200 else f"{text[:197]}...") or type(error).__name__


@dataclass(frozen=True)
class AuditResult:
    """The result of the audit of a data set.

    Attributes:
        problems: Every defect, in the order of the files; empty when the data can be used as it is.
        counts: Named totals: usable samples of each split that was looked at, boxes.
        notes: What the reader repairs or skips by itself; no action is needed.
        labels: Segmentation: how label images were read, one row for each index or value and class.
        looks: Data for comparisons with the images of another data set, see `gcisg_suite.audit.images.Look`.
        classes: The class names in the data, by label; those of another data set must be among them.
    """

    problems: list[Problem]
    counts: dict[str, int]
    notes: list[Problem] = field(default_factory=list)
    labels: list[dict[str, str]] = field(default_factory=list)
    looks: list[Any] = field(default_factory=list)
    classes: list[str] = field(default_factory=list)
