"""The segmentation part of the demonstration: baseline and GCISG on the miniature's scenes."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from gcisg_seg.mini import train_and_measure
from gcisg_seg.panels import COLOURS, panel
from gcisg_suite.report.page import Picture, Section, compare
from gcisg_suite.report.runs import curves, details, read_run

CONFIGS = {"baseline": "baseline_mini", "GCISG": "gcisg_mini"}
MEASURES = {"mIoU": "mIoU %", "aAcc": "pixel accuracy %"}


def segmentation_section(runs: Path, overrides: Sequence[str] = ()) -> Section:
    """Train both models on the scenes and measure them on the test half.

    Args:
        runs: Where the runs are kept; a finished one is not repeated.
        overrides: ``key=value`` for both configs.
    """
    results = {name: train_and_measure(config, ["test"], runs / config, overrides) for name, config in CONFIGS.items()}
    read = {name: read_run(runs / config, name) for name, config in CONFIGS.items()}
    columns, rows = compare({name: result["test"] for name, result in results.items()}, MEASURES)
    return Section(
        title="Segmentation: synthetic scenes to photographed ones",
        text=[
            "Trained on digits drawn on grey clutter, in GTAV's folders and label files; measured on real handwriting "
            "over photographs, in Cityscapes' folders, by mmseg's evaluator. Eight digits play classes of Cityscapes.",
            "One seed; " + ", ".join(f"{name} {result['seconds']:.0f} s" for name, result in results.items()) + ".",
        ],
        columns=columns,
        rows=rows,
        pictures=[
            Picture(curves(read), "Losses while training, means of the last iterations.", chart=True),
            panel(read, COLOURS),
        ],
        commands=[
            f"python tools/train_net.py --config projects/segmentation/{config}.py" for config in CONFIGS.values()
        ],
        **details(read),
    )
