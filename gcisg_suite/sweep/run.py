"""The runs of a sweep, and the file with one line for each finished run."""

from __future__ import annotations

import hashlib
import json
import multiprocessing
import os
import platform
import re
import resource
import threading
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from gcisg_core.files import cut_half_line, write_text
from gcisg_suite.tasks import TASKS, framework_of, read_config
from gcisg_suite.text import read_json_lines, read_json_object

from .variants import Variant


def read_runs(path: Path) -> list[dict[str, Any]]:
    """The finished runs. An incomplete last line, which a killed process leaves, is ignored."""
    return read_json_lines(path) if path.is_file() else []


def append_runs(path: Path, runs: Iterable[dict[str, Any]]) -> None:
    """Append lines; an incomplete last line, which a killed process leaves, is replaced.

    A run that is there already, such as from another sweep with the same output, is left out.
    """
    cut_half_line(path)
    there = {(run["variant"], run["seed"]) for run in read_runs(path)}
    with path.open("ab") as file:
        for run in runs:
            if (key := (run["variant"], run["seed"])) not in there:
                there.add(key)
                file.write(json.dumps(run).encode() + b"\n")


@dataclass(frozen=True, eq=False)
class Run:
    """A run of a sweep. Calling it trains and evaluates, or continues a run that was stopped.

    Attributes:
        task: Name of the task.
        name, variant: The sweep's variant, with its name.
        seed: The random seed.
        split: The split that it is evaluated on.
        work: The folder of the sweep's runs.
    """

    task: str
    name: str
    variant: Variant
    seed: int
    split: str
    work: str

    @property
    def file(self) -> Path:
        """The config file."""
        row = TASKS[self.task]
        return row.folder / f"{self.variant.config}{row.suffix}"

    @cached_property
    def digest(self) -> str:
        """Hash of the config's content; part of the folder's name, so that a changed config gets a new folder."""
        return config_hash(self.file, self.variant.overrides)

    @property
    def folder(self) -> Path:
        """The folder of the training run."""
        return Path(self.work) / re.sub("[^A-Za-z0-9.]+", "_", self.name) / f"seed_{self.seed}_{self.digest}"

    def finished(self) -> dict[str, Any] | None:
        """The result of the run; None if it has not finished."""
        file = self.folder / "run.json"
        return read_json_object(file) or None

    def __call__(self) -> dict[str, Any]:
        """Train and evaluate. A finished run is read and not repeated.

        Returns:
            The result of the run. With ``resumed``, ``seconds`` and ``peak_mb`` (MiB) cover its last start only.
        """
        import torch  # imported late, so that printing the commands of a sweep is fast

        torch.set_num_threads(1)
        if line := self.finished():
            return line
        row, folder, variant = TASKS[self.task], self.folder, self.variant
        resumed = {"resumed": True} if folder.is_dir() else {}
        if variant.is_mini:
            result = row.door("mini")(variant.config, [self.split], folder, variant.overrides, self.seed)
        else:
            result = row.door("paper")(self.file, folder, variant.overrides, self.seed)
        gpu = {"gpu_peak_mb": torch.cuda.max_memory_allocated() >> 20} if torch.cuda.is_available() else {}
        line = {
            "variant": self.name,
            **variant._asdict(),
            "hash": self.digest,
            "seed": self.seed,
            **result,
            **resumed,
            "peak_mb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024,
            **gpu,
            "versions": {"python": platform.python_version(), "torch": torch.__version__},
        }
        write_text(folder / "run.json", json.dumps(line))
        from joblib.externals.loky import get_reusable_executor

        # The idle workers that made the data would otherwise keep this process waiting for five minutes.
        get_reusable_executor().shutdown()
        return line

    def checkpoint(self) -> Any:
        """The job that submitit requeues after a time-out or a preemption."""
        from submitit.helpers import DelayedSubmission

        return DelayedSubmission(self)


def alone(run: Run) -> dict[str, Any]:
    """Run in a separate process, which ends when the sweep's process ends; the log is in the run's folder."""
    threading.Thread(target=_end_with_the_sweep, daemon=True).start()
    with open(os.devnull, "w") as nowhere:  # noqa: PTH123
        os.dup2(nowhere.fileno(), 1)
        os.dup2(nowhere.fileno(), 2)
    return run()


def _end_with_the_sweep() -> None:
    """Exit with the parent: a run that outlived a killed sweep would disturb the next start of the sweep."""
    parent = multiprocessing.parent_process()
    if parent:
        parent.join()
        os._exit(1)


def config_hash(file: Path, overrides: list[str]) -> str:
    """8 hexadecimal digits of the hash of a config's content, with everything that it inherits."""
    text = framework_of(file).as_text(read_config(file, overrides))
    return hashlib.sha256(text.encode()).hexdigest()[:8]
