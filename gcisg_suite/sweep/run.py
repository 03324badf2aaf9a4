"""The runs of a sweep: what each is, and the lines that they leave."""

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
    """The finished runs; a last line that a kill cut short counts as not there."""
    return read_json_lines(path) if path.is_file() else []


def append_runs(path: Path, runs: Iterable[dict[str, Any]]) -> None:
    """Adds lines, in the place of one that a kill cut short."""
    cut_half_line(path)
    with path.open("ab") as file:
        file.writelines(json.dumps(run).encode() + b"\n" for run in runs)


@dataclass(frozen=True, eq=False)
class Run:
    """A run of a sweep; called, it trains and evaluates, or goes on where it was stopped.

    Attributes:
        task: Its name in the table of tasks.
        name, variant: Of the sweep.
        seed: The run's.
        split: What it is evaluated on.
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
        """Its config."""
        row = TASKS[self.task]
        return row.folder / f"{self.variant.config}{row.suffix}"

    @cached_property
    def digest(self) -> str:
        """Of its config's content; in the folder's name, so that another config's run is no part of this one."""
        return config_hash(self.file, self.variant.overrides)

    @property
    def folder(self) -> Path:
        """Where it is trained."""
        return Path(self.work) / re.sub("[^A-Za-z0-9.]+", "_", self.name) / f"seed_{self.seed}_{self.digest}"

    def finished(self) -> dict[str, Any] | None:
        """Its line, once it has ended."""
        file = self.folder / "run.json"
        return read_json_object(file) or None

    def __call__(self) -> dict[str, Any]:
        """Train and evaluate; what is finished is read, not repeated.

        Returns:
            The line of the run. ``seconds`` and ``peak_mb`` (MiB) are of its last start where it says ``resumed``.
        """
        import torch  # the frameworks are loaded where something is run: printing commands takes no time

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

        # What made the run's data is idle now, and this process would wait five minutes for it to end by itself.
        get_reusable_executor().shutdown()
        return line

    def checkpoint(self) -> Any:
        """What submitit puts into the queue again when the job's time is over, or its machine is taken from it."""
        from submitit.helpers import DelayedSubmission

        return DelayedSubmission(self)


def alone(run: Run) -> dict[str, Any]:
    """A run in a process of its own, which ends with the sweep's; its log is in its folder."""
    threading.Thread(target=_end_with_the_sweep, daemon=True).start()
    with open(os.devnull, "w") as nowhere:  # noqa: PTH123
        os.dup2(nowhere.fileno(), 1)
        os.dup2(nowhere.fileno(), 2)
    return run()


def _end_with_the_sweep() -> None:
    """A run that outlived a killed sweep would be in the way of the next one's."""
    parent = multiprocessing.parent_process()
    if parent:
        parent.join()
        os._exit(1)


def config_hash(file: Path, overrides: list[str]) -> str:
    """8 hexadecimal digits of a config's whole content, what it inherits included."""
    text = framework_of(file).as_text(read_config(file, overrides))
    return hashlib.sha256(text.encode()).hexdigest()[:8]
