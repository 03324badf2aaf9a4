"""`gcisg replay`."""

from __future__ import annotations

from pathlib import Path

from gcisg_core.problems import DataError
from gcisg_suite.commands.arguments import Flag, check_file


def replay(file: Path, /, *, trust: Flag = False) -> None:
    """Repeat a training step that the NaN recorder wrote to a file (docs/nan_recorder.md).

    For example:

        gcisg replay work_dirs/run/nonfinite_iter12_rank0.pth

    Args:
        file: The recorded step, nonfinite_*.pth.
        trust: Also import modules that its config lists and that belong neither to the suite nor to its frameworks.
    """
    check_file("FILE", file)

    from gcisg_suite.progress import Progress
    from gcisg_suite.replay import report

    try:
        with Progress("running the step again", None, "step", expected="up to a minute"):
            text = report(file, trust)
    except (RuntimeError, KeyError, TypeError, AttributeError, IndexError) as error:  # of another version, or damaged
        what = f"is not a record that this version can run again ({type(error).__name__}: {error})"
        raise DataError(file, what, "Record the step again") from error
    print(text)
