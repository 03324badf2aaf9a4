"""The tables of benchmarks/gpu.py, in Markdown and JSON."""

from __future__ import annotations

import json
from pathlib import Path

from _gpu_run import Row
from tabulate import tabulate

from gcisg_core.files import write_text

TITLES = {
    "environment": "Environment",
    "tests": "Tests",
    "steps": "A training step",
    "losses": "Losses over the queue, value and gradient, d = 128, float32",
    "loader": "Loaders",
}
NOTES = {
    "steps": (
        "Floor: the same forward and backward passes in the framework's own model, without the suite's code: the "
        "task's step, for GCISG the backbone on the other view with its backward pass and three passes without one, "
        "for CSG two without one. Projectors, losses, queues, averages and, in detection, the drawing of views are "
        "not in it. Random weights, synthetic batches."
    ),
    "loader": "Over the step: images a second of the loader over those of GCISG's step in float16, above.",
}


class Report:
    """Takes rows and rewrites all of them each time, so that a run that is ended leaves what it had.

    Args:
        folder: Where ``results.md`` and ``results.json`` go.
        device: Of the run.
        tiny: Whether it is in miniature.
    """

    def __init__(self, folder: Path, device: str, tiny: bool) -> None:
        self.folder, self.device, self.tiny = folder, device, tiny
        self.tables: dict[str, list[Row]] = {}
        self.parts: list[Row] = []

    @property
    def failed(self) -> bool:
        return "problems" in self.tables or any(part["status"].startswith("failed") for part in self.parts)

    def add(self, table: str, row: Row) -> None:
        if table == "loader" and "images / s" in row:
            steps = {step["task"]: step.get("images / s") for step in self.tables.get("steps", [])
                     if step["method"] == "gcisg" and step["precision"] == "float16"}  # fmt: skip
            if consumed := steps.get(row["task"]):
                row["over the step"] = row["images / s"] / consumed
        if "problem" in row:
            row["problem"] = row.pop("problem")  # the last column
        self.tables.setdefault(table, []).append(row)
        self.write()

    def close(self, part: str, status: str, seconds: float) -> None:
        self.parts.append({"part": part, "status": status, "seconds": round(seconds)})
        self.write()

    def headline(self) -> str:
        """What became of the parts, in one line."""
        not_run = sum(part["status"].startswith("not run") for part in self.parts)
        done = sum(part["status"] == "done" for part in self.parts)
        problems = len(self.tables.get("problems", []))
        return f"{done} of {len(self.parts)} parts done, {not_run} not run, {problems} problems"

    def write(self) -> None:
        content = {"device": self.device, "tiny": self.tiny, "parts": self.parts, **self.tables}
        write_text(self.folder / "results.json", json.dumps(content, indent=1))
        write_text(self.folder / "results.md", self._page())

    def _page(self) -> str:
        meaning = " in miniature: the times mean nothing" if self.tiny else ""
        blocks = [f"# Measured on {'a GPU' if self.device == 'cuda' else 'the CPU'}{meaning}"]
        blocks += [f"{self.headline()}.", tabulate(self.parts, headers="keys", tablefmt="github")]
        for name, title in TITLES.items():
            if rows := self.tables.get(name):
                shown = _tests(rows) if name == "tests" else rows
                blocks += [f"## {title}", tabulate(shown, headers="keys", tablefmt="github", floatfmt=".3g")]
                blocks += [NOTES[name]] if name in NOTES else []
        for problem in self.tables.get("problems", []):
            blocks += [f"## Problem: {problem['where']}", f"```\n{problem['traceback'].rstrip()}\n```"]
        return "\n\n".join(blocks) + "\n"


def _tests(rows: list[Row]) -> list[Row]:
    """The tests of each file in a line; JSON has each."""
    files: dict[str, Row] = {}
    for row in rows:
        name = row["test"].partition("::")[0]
        line = files.setdefault(name, {"file": name, "passed": 0, "failed": 0, "skipped": 0, "seconds": 0.0})
        line[row["outcome"]] += 1
        line["seconds"] += row["seconds"]
    return [*files.values()]
