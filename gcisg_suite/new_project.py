"""Two configs, a baseline and GCISG, that train on synthetic images of yours and are evaluated on real ones.

The folders are audited first: each fault is a line with its file and what to do. docs/your_data.md describes them.
"""

from __future__ import annotations

import json
import os
import sys
from contextlib import nullcontext, redirect_stdout
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

from gcisg_core.files import keep_copy, write_text
from gcisg_core.problems import AuditResult
from gcisg_core.shell import gcisg_command
from gcisg_suite.places import find_config
from gcisg_suite.schedule import Schedule
from gcisg_suite.tasks import TASKS

MINE, THEIRS = "synthetic", "real"


@dataclass
class Answers:
    """What was given or asked for.

    Attributes:
        synthetic: Images with labels, to train on.
        real: Real images to evaluate on; without labels there is no score.
        options: Those of the task's audit, by name.
        workers: Processes of the audit.
        output: Where the configs go, and below `data` what is converted.
        formats: What the user says of a folder, `synthetic` or `real`: a format of `gcisg_suite.formats`.
        force: Write the configs whatever was found, and replace what was changed, of which copies are kept.
    """

    synthetic: Path
    real: Path
    options: dict[str, Any] = field(default_factory=dict)
    workers: int = 1
    output: Path = Path()
    formats: dict[str, str] = field(default_factory=dict)
    force: bool = False

    @property
    def folders(self) -> dict[str, Path]:
        return {MINE: self.synthetic, THEIRS: self.real}

    @property
    def images(self) -> str:
        """The images' folder in both folders."""
        return str(self.options.get("images", "images"))

    @property
    def labels(self) -> str | None:
        """The labels' folder, or the COCO JSON; None for the usual name."""
        given = self.options.get("annotations") or self.options.get("labels")
        return None if given is None else str(given)


class Project(NamedTuple):
    """What a task makes of the folders: the audits, the length of the training, and the text of both configs below the
    line that names the base."""

    audits: dict[str, AuditResult]
    schedule: Schedule
    baseline: str
    gcisg: str


def ask(flag: str, question: str) -> str:
    """An answer from the terminal; without one, the error names the flag."""
    try:
        answer = input(f"{question}: ").strip()
    except EOFError:
        print()  # the question has no line end
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


def write_project(task: str, answers: Answers, as_json: bool = False) -> int:
    """Audit and write; returns 1 where faults were found and no config was written.

    Args:
        task: Its name.
        answers: What was given.
        as_json: Print one JSON object in place of lines.

    Raises:
        ValueError: there is a file with other content, and no `answers.force`.
    """
    from gcisg_suite.audit.evaluation import compared
    from gcisg_suite.audit.show import as_dict, show_result
    from gcisg_suite.progress import loading

    row, out, force = TASKS[task], answers.output, answers.force
    with redirect_stdout(sys.stderr) if as_json else nullcontext():  # what is converted is told meanwhile
        with loading(task):
            make = row.door("new_project")
        project: Project = make(answers)
    audits = {**project.audits, THEIRS: compared(project.audits[MINE], project.audits[THEIRS])}
    found = any(audit.problems for audit in audits.values())
    for name, audit in audits.items() if not as_json else ():
        show_result(name, audit)
    texts: dict[Path, str] = {}
    commands, copies = [], []
    if not found or force:
        texts, commands = _texts(task, project, out), _commands(task, out)
        copies = _write(texts, force)
    if as_json:
        shown = {"audits": {name: as_dict(audit) for name, audit in audits.items()}, "schedule": str(project.schedule)}
        print(json.dumps({**shown, "written": [*map(str, texts)], "commands": commands}, indent=2))
    elif not texts:
        print("No config was written: fix what is listed, or give --force.")
    else:
        written = f"written: {', '.join(map(str, texts))}"
        print("\n".join([*copies, written, f"schedule: {project.schedule}", "next:", *commands]))
    return 1 if found and not force else 0


def _texts(task: str, project: Project, out: Path) -> dict[Path, str]:
    """The configs by their file."""
    row = TASKS[task]
    bases = {"baseline": base_config(task, out), "gcisg": f"baseline{row.suffix}"}
    first = {name: row.framework.base.format(json.dumps(base, ensure_ascii=False)) for name, base in bases.items()}
    return {out / f"{name}{row.suffix}": f"{line}\n{getattr(project, name)}" for name, line in first.items()}


def _commands(task: str, out: Path) -> list[str]:
    """What to run next."""
    suffix, runs = TASKS[task].suffix, {name: out / "runs" / name for name in ("baseline", "gcisg")}
    train = [gcisg_command("train", "--config", out / f"{name}{suffix}", "--output", run) for name, run in runs.items()]
    return [*train, gcisg_command("report", *runs.values(), "--output", out / "report.html")]


def _write(texts: dict[Path, str], force: bool) -> list[str]:
    """Write what is new; a line for each copy of what was there."""
    changed = [path for path, text in texts.items() if path.exists() and path.read_bytes() != text.encode()]
    if changed and not force:
        what = f"{', '.join(map(str, changed))}: exists with different content"
        raise ValueError(f"{what}. Name another --output, or give --force, which keeps a copy of it")
    lines = [f"kept the old {path} as {keep_copy(path)}" for path in changed]
    for path, text in texts.items():
        write_text(path, text)
    return lines
