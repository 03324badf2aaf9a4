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
) -> None:
    """Train and evaluate variants of a config over seeds; one JSON line per finished run.

    For example:

        gcisg sweep --sweep projects/classification/sweeps/lambdas.yaml --seeds 0-1 --split dev

    A sweep file names the task, variants, each a config and overrides, and optionally a product of further overrides:

        task: classification
        variants: {GCISG: {config: gcisg_mini}}
        grid: {model.regularizer.lambda_ci: [0.0, 0.5]}
        paper: {grid: {...}}  # what differs on the papers' data; false: there is no such experiment

    --config puts a config in the place of the sweep's (or of its missing variants), --scale paper the configs of the
    papers' data. Runs that are in the output already are skipped, so a sweep that was stopped goes on where it was, a
    half-finished run from its last checkpoint. The table gives mean and standard deviation over seeds, and the paired
    difference to the first variant with its 95 % t-interval.

    Elsewhere: --dry-run prints a command for each run that is missing, for a scheduler of any kind; --collect DIR
    takes over what they wrote.

    Args:
        file: The YAML file of variants (--grid is its earlier name).
        config: A config in the place of the sweep's.
        scale: The data: miniature or papers'.
        seeds: A-B, both included, or one.
        split: dev to choose settings (the miniature's default), test to report (--half is its earlier name).
        output: JSON lines (by default beside the sweep: <sweep>_<split>.jsonl).
        jobs: Runs at once, one thread each (all cores; papers' data: 1).
        only: These variants alone.
        dry_run: Print a command for each missing run and stop.
        collect: Take over the finished runs of DIR/*.jsonl.
        plot: Draw the first metric of every run.
    """
    check_file("--sweep", file)
    check_file("--config", config)
    check_at_least("--jobs", jobs or 1)
    numbers = parse_seeds(seeds)

    from gcisg_suite.sweep.sweep import Options
    from gcisg_suite.sweep.sweep import sweep as sweep_all

    sweep_all(Options(file, config, scale, numbers, split, output, jobs, only or (), dry_run, collect, plot))


def parse_seeds(text: str) -> list[int]:
    """`3-5` or `3`."""
    first, _, last = text.partition("-")
    try:
        return list(range(int(first), int(last or first) + 1))
    except ValueError as error:
        raise UsageError(f"--seeds {text}: expected A-B, or one number") from error
