"""Run the step again that the NaN recorder wrote to a file; `python tools/analyze.py --replay FILE` prints it."""

from __future__ import annotations

from contextlib import nullcontext
from pathlib import Path

from tabulate import tabulate

from gcisg_core.nonfinite import VERSION
from gcisg_core.records import load
from gcisg_core.replay import replay, table


def report(file: Path) -> str:
    """What was recorded, the losses then and now, where values stop being finite, and the statistics of each stage.

    Raises:
        DataError: the file is no record.
        ValueError: its model cannot be built here.
    """
    record = load(file, VERSION)
    if record["framework"] == "detectron2":
        import gcisg_det  # noqa: F401 - repairs Detectron2 0.5 and registers the project

        # isort: split
        from detectron2.utils.events import EventStorage

        from gcisg_core.integrations.detectron2_nonfinite import framework as detectron2_framework
        from gcisg_det.replay import build_model

        again = replay(record, build_model(record), detectron2_framework(), EventStorage(record["iteration"]))
    else:
        from gcisg_core.integrations.mmengine_nonfinite import build_model as build_mmengine_model
        from gcisg_core.integrations.mmengine_nonfinite import framework as mmengine_framework

        again = replay(record, build_mmengine_model(record), mmengine_framework(), nullcontext())
    losses = [[name, value, again.losses.get(name)] for name, value in record["losses"].items()]
    lines = [
        f"Recorded: {record['message']}",
        f"Batch: {', '.join(record['batch'])}; gradient scale {record['scale'] or 'none'}",
        tabulate(losses, ("loss", "recorded", "run again"))
        if losses
        else f"No losses: {again.error or 'no error now'}",
        f"The step is {'the same' if again.repeats(record) else 'NOT the same: another machine, thread number?'}",
        f"First module whose output is not finite: {again.origin or 'none, the losses themselves'}",
        f"Parameters whose gradients are not finite: {len(again.gradients)}, {', '.join(again.gradients[:3])}",
        tabulate(table(again.statistics), ("at", "shape", "not finite", "min", "mean", "max", "std"), floatfmt=".4g"),
    ]
    return "\n\n".join(lines)
