"""Two configs, a baseline and GCISG, that train on synthetic images of yours and are evaluated on real ones.

The folders are audited first: each fault is a line with its file and what to do. docs/your_data.md describes them.
"""

from __future__ import annotations

import os
import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

from gcisg_core.files import write_text
from gcisg_core.problems import AuditResult
from gcisg_core.shell import command_line
from gcisg_suite.audit.show import show_notes
from gcisg_suite.places import find_config
from gcisg_suite.tasks import TASKS

MINE, THEIRS = "synthetic", "real"


@dataclass
class Answers:
    """What was given or asked for.

    Attributes:
        synthetic: Images with labels, to train on.
        real: Real images to evaluate on; without labels there is no score.
        classes: A file with a line a class: those of label images, or those that are wanted of another format.
        images: The images' folder in both folders.
        labels: The labels' folder, or the COCO JSON; None for the usual name.
        workers: Processes of the audit.
        output: Where the configs go, and below `data` what is converted.
        formats: What the user says of a folder, `synthetic` or `real`: a format of `gcisg_suite.formats`.
    """

    synthetic: Path
    real: Path
    classes: Path | None = None
    images: str = "images"
    labels: str | None = None
    workers: int = 1
    output: Path = Path()
    formats: dict[str, str] = field(default_factory=dict)

    @property
    def folders(self) -> dict[str, Path]:
        return {MINE: self.synthetic, THEIRS: self.real}


class Project(NamedTuple):
    """What a task makes of the folders: the audits, and the text of both configs below the line that names the base."""

    audits: dict[str, AuditResult]
    baseline: str
    gcisg: str


def ask(flag: str, question: str) -> str:
    """An answer from the terminal; without one, the error names the flag."""
    try:
        answer = input(f"{question}: ").strip()
    except EOFError:
        answer = ""
    if not answer:
        sys.exit(f"error: --{flag} is needed. {question}")
    return answer


def base_config(task: str, out: Path) -> str:
    """The base of a task's configs: the checkout's, as seen from `out`, or what the installed package brought along."""
    name = f"own_data{TASKS[task].suffix}"
    above = Path(__file__).resolve().parents[1] / "projects" / task
    if above.is_dir():
        return Path(os.path.relpath(above / name, out.resolve())).as_posix()
    return Path(find_config(f"projects/{task}/{name}")).resolve().as_posix()


def write_project(task: str, answers: Answers, out: Path, force: bool) -> int:
    """Audit and write; returns 1 where faults were found and nothing was written."""
    row = TASKS[task]
    project: Project = row.door("new_project")(answers)
    found = [problem for audit in project.audits.values() for problem in audit.problems]
    for problem in found:
        print(problem)
    for audit in project.audits.values():
        show_notes(audit)
    for name, audit in project.audits.items():
        counts = ", ".join(f"{key} {value}" for key, value in audit.counts.items())
        print(f"{name}: {len(audit.problems)} problems; found: {counts}")
    if found and not force:
        print("Nothing was written: mend what is listed, or give --force.")
        return 1
    bases = {"baseline": base_config(task, out), "gcisg": f"baseline{row.suffix}"}
    for name, base in bases.items():
        text = f"{row.framework.base.format(base)}\n{getattr(project, name)}"
        path = write_text(out / f"{name}{row.suffix}", text)
        print(command_line("gcisg", "train", "--config", path, "--output", out / "runs" / name))
    print(command_line("gcisg", "report", *(out / "runs" / name for name in bases)))
    return 0
