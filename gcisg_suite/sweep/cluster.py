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
from gcisg_suite.progress import Progress, progress

from .run import Run, append_runs

JOBS = "jobs.json"  # beside the jobs' logs: run -> job id, so that a restarted sweep finds its jobs again
DEFAULTS = {"timeout_min": 24 * 60, "cpus_per_task": 2, "name": "gcisg"}
SECONDS = 1.0  # interval at which jobs are polled; submitit itself asks Slurm once a minute
# What submitit puts around a job's error, and logs when the job is cancelled.
NO_REASON = ("-", "You can check", "or at", "  - ", "submitit WARNING")
MOST_STARTS = 100  # how often a job that hits its time limit is requeued


def submit_all(runs: Sequence[Run], out: Path, launcher: str, jobs: int, options: Sequence[str] = ()) -> list[str]:
    """Submit the missing runs as jobs, and wait for them. If this process is stopped, the jobs continue without it.

    A job that an earlier start of the sweep submitted, and that is still queued or running, is waited for instead of
    submitting it again.

    Args:
        runs: The missing runs.
        out: File of the sweep's results; the line of a run is added when its job has ended.
        launcher: A cluster of submitit: `slurm`, `local`, or `debug`, which runs in this process.
        jobs: Largest number of jobs in the queue at the same time.
        options: `NAME=VALUE` each, arguments of submitit's `AutoExecutor.update_parameters`.

    Returns:
        A line for each failed run, with the reason.

    Raises:
        ValueError: submitit is not installed, the cluster is not available here, or an option is unknown.
    """
    lines = [run.finished() for run in progress(runs, "looking for finished runs", "run")]
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
    with Progress("waiting for jobs", len(waiting), "run") as shown:
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
                    shown.reach(shown.done + 1)
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
    gpus = {"gpus_per_node": 1} if launcher == "local" and torch.cuda.is_available() else {}  # else it hides all GPUs
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
    """The job of an earlier start, if it is still queued or running."""
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
    """Whether a job has ended. For a local job that another process started, submitit cannot tell."""
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
    """The result of a run whose job has ended, or the last line of its error with the path of its log."""
    if line := run.finished():
        return line, ""
    error = job.exception()
    text = str(error).strip().splitlines() if error else ["it ended without a result"]
    trace = [line for line in text if line.strip() and not line.startswith(NO_REASON)]
    return None, f"{(trace or text)[-1].strip()} (log: {job.paths.stderr})"
