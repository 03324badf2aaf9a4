"""The runs of a sweep as jobs of submitit: on a cluster with Slurm, or on this machine."""

from __future__ import annotations

import ast
import json
import os
import time
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from gcisg_core.files import write_text
from gcisg_core.problems import reason
from gcisg_suite.progress import Progress

from .run import Run, append_runs

JOBS = "jobs.json"  # in the folder of the jobs' logs: run -> its job, so that a sweep that was stopped finds it again
DEFAULTS = {"timeout_min": 24 * 60, "cpus_per_task": 2, "name": "gcisg"}
SECONDS = 1.0  # between two looks at the jobs; submitit itself asks Slurm once a minute
MOST_STARTS = 100  # of a job that is stopped by its time limit


def submit_all(runs: Sequence[Run], out: Path, launcher: str, jobs: int, options: Sequence[str] = ()) -> list[str]:
    """Run what is to do as jobs, and wait for them; what is stopped meanwhile goes on without this process.

    A job of an earlier start of the sweep that is still in the queue, or runs, is waited for and not started again.

    Args:
        runs: What is missing.
        out: The sweep's lines; each run's is added when its job has ended.
        launcher: A cluster of submitit: `slurm`, `local`, or `debug`, which runs in this process.
        jobs: How many may be in the queue at once.
        options: `NAME=VALUE` each, of submitit's `AutoExecutor.update_parameters`.

    Returns:
        What failed and why.

    Raises:
        ValueError: submitit is not installed, there is no such cluster here, or an option is unknown.
    """
    lines = [run.finished() for run in runs]
    append_runs(out, filter(None, lines))
    waiting = [run for run, line in zip(runs, lines, strict=True) if not line]
    if not waiting:
        return []
    folder = Path(runs[0].work) / "jobs"
    executor = _executor(folder, launcher, options)
    known = folder / JOBS
    submitted: dict[str, str] = json.loads(known.read_text()) if known.is_file() else {}
    running: dict[Run, Any] = {}
    failed: list[str] = []
    with Progress("waiting for jobs", len(waiting), "run") as progress:
        while waiting or running:
            while waiting and len(running) < jobs:
                run = waiting.pop(0)
                key = str(run.folder)
                running[run] = _earlier(folder, launcher, submitted.get(key)) or executor.submit(run)
                submitted[key] = running[run].job_id
                write_text(known, json.dumps(submitted, indent=1))
            for run, job in [*running.items()]:
                if _is_over(job):
                    del running[run]
                    progress.reach(progress.done + 1)
                    line, why = _outcome(run, job)
                    append_runs(out, [line] if line else [])
                    failed += [] if line else [f"{run.name}, seed {run.seed}: {why}"]
            if running:
                time.sleep(SECONDS)
    return failed


def _executor(folder: Path, launcher: str, options: Sequence[str]) -> Any:
    import torch

    try:
        import submitit
    except ImportError as error:
        raise ValueError(f"--launcher {launcher} needs submitit: pip install 'gcisg[cluster]'") from error
    try:
        executor = submitit.AutoExecutor(folder=folder, cluster=launcher, slurm_max_num_timeout=MOST_STARTS)
    except RuntimeError as error:
        raise ValueError(f"--launcher {launcher}: {reason(error)}") from error
    gpus = {"gpus_per_node": 1} if launcher == "local" and torch.cuda.is_available() else {}  # else it hides them all
    try:
        executor.update_parameters(**{**DEFAULTS, **gpus, **dict(map(_option, options))})
    except (AssertionError, NameError, TypeError, ValueError) as error:
        raise ValueError(f"--job-options {' '.join(options)}: {reason(error)}") from error
    return executor


def _option(text: str) -> tuple[str, Any]:
    name, equals, value = text.partition("=")
    if not equals:
        raise ValueError(f"{text!r} must be NAME=VALUE")
    with suppress(ValueError, SyntaxError):
        return name, ast.literal_eval(value)
    return name, value


def _earlier(folder: Path, launcher: str, job_id: str | None) -> Any:
    """The job of an earlier start, if it is in the queue or runs."""
    if job_id is None:
        return None
    if launcher == "slurm":
        from submitit import SlurmJob

        job: Any = SlurmJob(folder=folder, job_id=job_id, tasks=[0])
    elif launcher == "local":
        from submitit import LocalJob

        job = LocalJob(folder=folder, job_id=job_id)
    else:
        return None
    return None if _is_over(job) else job


def _is_over(job: Any) -> bool:
    """Whether a job has ended; submitit does not know it of one of this machine that another process started."""
    if getattr(job, "_process", job) is not None:
        return bool(job.done())
    with suppress(OSError):
        command = Path(f"/proc/{job.job_id}/cmdline")
        if command.is_file():
            return b"submitit" not in command.read_bytes()
        os.kill(int(job.job_id), 0)
        return False
    return True


def _outcome(run: Run, job: Any) -> tuple[dict[str, Any] | None, str]:
    """The line of a run whose job has ended, or the last line of what went wrong and where its log is."""
    if line := run.finished():
        return line, ""
    error = job.exception()
    text = str(error).strip().splitlines() if error else ["it left no result"]
    trace = [line for line in text if line.strip() and not line.startswith(("-", "You can check", "or at", "  - "))]
    return None, f"{(trace or text)[-1].strip()} (log: {job.paths.stderr})"
