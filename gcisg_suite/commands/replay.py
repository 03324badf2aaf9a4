"""`gcisg replay`."""

from __future__ import annotations

from pathlib import Path

from gcisg_suite.commands.arguments import check_file


def replay(file: Path, /) -> None:
    """Run a step again that the NaN recorder wrote to a file (docs/nan_recorder.md).

    For example:

        gcisg replay work_dirs/run/nonfinite_iter12_rank0.pth

    Args:
        file: The file, nonfinite_*.pth.
    """
    check_file("FILE", file)

    from gcisg_suite.replay import report

    try:
        print(report(file))
    except RuntimeError as error:  # the model of another version
        raise ValueError(str(error)) from error
