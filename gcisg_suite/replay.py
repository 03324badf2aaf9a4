"""Run the step again that the NaN recorder wrote to a file; `gcisg replay FILE` prints it."""

from __future__ import annotations

from contextlib import nullcontext
from importlib import import_module
from pathlib import Path

from tabulate import tabulate

from gcisg_core.lookup import choose
from gcisg_core.nan.record import load
from gcisg_core.nan.recorder import VERSION
from gcisg_core.nan.replay import replay, table
from gcisg_suite.tasks import FRAMEWORKS


def report(file: Path, trust: bool = False) -> str:
    """What was recorded, the losses then and now, where values stop being finite, and the statistics of each stage.

    Args:
        file: Of the recorder.
        trust: Import modules of any package that the record's config names.

    Raises:
        DataError: the file is not a record.
        ValueError: its model cannot be built here.
    """
    record = load(file, VERSION)
    module = import_module(choose(FRAMEWORKS, record["framework"], f"framework of {file}").replay)
    context = getattr(module, "context", lambda _: nullcontext())
    again = replay(record, module.build_model(record, file.parent, trust), module.framework(), context(record))
    losses = [[name, value, again.losses.get(name)] for name, value in record["losses"].items()]
    lines = [
        f"Recorded: {record['message']}",
        f"Batch: {', '.join(record['batch'])}; gradient scale {record['scale'] or 'none'}",
        tabulate(losses, ("loss", "recorded", "run again"))
        if losses
        else f"No losses: {again.error or 'no error now'}",
        f"The step is {'the same' if again.repeats(record) else 'NOT the same: another machine or number of threads?'}",
        f"First module whose output is not finite: {again.origin or 'none, the losses themselves'}",
        f"Parameters whose gradients are not finite: {len(again.gradients)}, {', '.join(again.gradients[:3])}",
        tabulate(table(again.statistics), ("at", "shape", "not finite", "min", "mean", "max", "std"), floatfmt=".4g"),
    ]
    return "\n\n".join(lines)
