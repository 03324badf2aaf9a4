"""`gcisg sweep`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

from cyclopts import Parameter

from gcisg_suite.commands.arguments import Flag, Several, UsageError, check_at_least, check_file


def sweep(
    *,
    file: Annotated[Path, Parameter(name=("--sweep", "--grid"))],
    config: Path | None = None,
    scale: Literal["mini", "paper"] = "mini",
    seeds: str = "0",
    split: Annotated[Literal["dev", "test"] | None, Parameter(name=("--split", "--half"))] = None,
    output: Path | None = None,
    jobs: int | None = None,
    only: Annotated[list[str] | None, Several] = None,
    dry_run: Flag = False,
    collect: Path | None = None,
    plot: Path | None = None,
    launcher: Literal["local", "slurm"] | None = None,
    job_options: Annotated[list[str] | None, Several] = None,
) -> None:
    """Train and evaluate variants of a config over several seeds. Each finished run becomes one line of JSON.

    For example:

        gcisg sweep --sweep projects/classification/sweeps/lambdas.yaml \\
            --seeds 0-1 --split dev

    A sweep file names the task, the variants (each a config and overrides) and, optionally, a grid of further
    overrides:

        task: classification
        variants: {GCISG: {config: gcisg_mini}}
        grid: {model.regularizer.lambda_ci: [0.0, 0.5]}
        paper: {grid: {...}}  # what differs on the papers' data; false: not run

    --config replaces the config of a sweep that has only one, or is the variant of a sweep that lists none; --scale
    paper uses the configs for the papers' data. Runs that are already in the output are skipped, so a stopped sweep
    continues where it stopped, and a half-finished run continues from its last checkpoint. At the end, a table shows
    mean and standard deviation over seeds, and the paired difference to the first variant with its 95 % t-interval.

    On a cluster, --launcher slurm submits a job for each missing run and waits for all of them; if you start the same
    command again, it finds its jobs and collects their results. --launcher local does the same on this machine, where
    the jobs continue if you stop the command. Both need submitit (pip install 'gcisg[cluster]'), see docs/scaling.md.

    For any other scheduler, --dry-run prints a command for each missing run, and --collect DIR collects their results.

    Args:
        file: The YAML file of variants (--grid is its earlier name).
        config: A config that replaces the sweep's.
        scale: Which data to train on: mini (the miniature) or paper (the papers' data).
        seeds: A-B, both included, or a single seed.
        split: dev to choose settings (the miniature's default), test to report (--half is its earlier name).
        output: File of the results (default: `<sweep>_<split>.jsonl` in the folder of the sweep).
        jobs: Number of runs at the same time, one thread each (default: one for each core; papers' data: 1; Slurm: no
            limit).
        only: Run only these variants.
        dry_run: Print a command for each missing run and stop.
        collect: Collect the finished runs of DIR/*.jsonl.
        plot: Draw the first metric of every run into this picture.
        launcher: Run as jobs of Slurm or of this machine (default: as processes of this command).
        job_options: Options of submitit, each as NAME=VALUE, such as gpus_per_node=1 slurm_partition=long
            timeout_min=600.
    """
    check_file("--sweep", file)
    check_file("--config", config)
    check_at_least("--jobs", jobs or 1)
    numbers = parse_seeds(seeds)
    if job_options and not launcher:
        raise UsageError("--job-options are for --launcher slurm or local")

    from gcisg_suite.sweep.sweep import Options
    from gcisg_suite.sweep.sweep import sweep as sweep_all

    given = Options(file, config, scale, numbers, split, output, jobs, only or (), dry_run, collect, plot)
    given.launcher, given.job_options = launcher, job_options or ()
    sweep_all(given)


def parse_seeds(text: str) -> list[int]:
    """`3-5` or `3`."""
    first, _, last = text.partition("-")
    try:
        return list(range(int(first), int(last or first) + 1))
    except ValueError as error:
        raise UsageError(f"--seeds {text}: expected A-B, or one number") from error
