"""The audit of the real images, compared with that of the synthetic ones: images in both, and classes without boxes."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from gcisg_core.problems import ABSENT_CLASS, AuditResult
from gcisg_suite.audit.near import shared_images
from gcisg_suite.formats.forms import image_files
from gcisg_suite.formats.table import has_only_images


def compared(training: AuditResult, real: AuditResult) -> AuditResult:
    """The audit of the real images, adapted to evaluation.

    A class without labels becomes a note, as it only has no result. An image that is in both data sets is a problem.
    """
    notes = [
        replace(problem, remedy="Nothing to do: it gets no result, and the other classes are evaluated")
        for problem in real.problems
        if problem.kind == ABSENT_CLASS
    ]
    problems = [problem for problem in real.problems if problem.kind != ABSENT_CLASS]
    problems += shared_images(training.looks, real.looks)
    return replace(real, problems=problems, notes=real.notes + notes)


def is_without_labels(folder: Path) -> bool:
    """Whether a folder holds only images, and no folder with images: no labelled data set has this layout."""
    return has_only_images(folder) and all(path.parent == folder for path in image_files(folder))
