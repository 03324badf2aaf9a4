"""The audit of real images beside that of the synthetic ones: what is no fault to evaluate on, and what both share."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from gcisg_core.problems import ABSENT_CLASS, AuditResult
from gcisg_suite.audit.near import shared_images
from gcisg_suite.formats.forms import image_files
from gcisg_suite.formats.table import has_only_images


def compared(training: AuditResult, real: AuditResult) -> AuditResult:
    """The audit of the real images, with what shows beside those of training: a class of which there is nothing to
    evaluate is no fault, images of both are."""
    notes = [
        replace(problem, remedy="It has no figure: the results are of the other classes")
        for problem in real.problems
        if problem.kind == ABSENT_CLASS
    ]
    problems = [problem for problem in real.problems if problem.kind != ABSENT_CLASS]
    problems += shared_images(training.looks, real.looks)
    return replace(real, problems=problems, notes=real.notes + notes)


def is_without_labels(folder: Path) -> bool:
    """Whether a folder holds images alone, all beside each other: no data of your own lie so."""
    return has_only_images(folder) and all(path.parent == folder for path in image_files(folder))
