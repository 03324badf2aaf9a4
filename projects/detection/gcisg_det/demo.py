"""The detection part of the demonstration: baseline and GCISG on the miniature's scenes."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from gcisg_suite.report.page import Picture, Section, compare
from gcisg_suite.report.runs import curves, details, read_run

from .mini import HALVES, train_and_measure
from .panels import draw

CONFIGS = {"baseline": "baseline_mini", "GCISG": "gcisg_mini"}
MEASURES = {"AP": "AP", "AP50": "AP50", "AP75": "AP75"}


def detection_section(runs: Path, overrides: Sequence[str] = ()) -> Section:
    """Train both models on the scenes and measure them on the test half.

    Args:
        runs: Where the runs are kept; a finished one is not repeated.
        overrides: ``KEY VALUE`` pairs for both configs.
    """
    results = {name: train_and_measure(config, ["test"], runs / config, overrides) for name, config in CONFIGS.items()}
    read = {name: read_run(runs / config, name) for name, config in CONFIGS.items()}
    columns, rows = compare({name: result["test"] for name, result in results.items()}, MEASURES)
    return Section(
        title="Detection: synthetic scenes to photographed ones",
        text=[
            "The same scenes in Sim10k's folders for training; boxes around one digit that plays the car. Measured on "
            "real handwriting over photographs, in Cityscapes' folders, by COCO's AP (boxes: coco).",
            "One seed; " + ", ".join(f"{name} {result['seconds']:.0f} s" for name, result in results.items()) + ".",
        ],
        columns=columns,
        rows=rows,
        pictures=[
            Picture(curves(read), "Losses while training, means of the last iterations.", chart=True),
            draw({name: runs / config / "inference" / HALVES["test"] for name, config in CONFIGS.items()}),
        ],
        commands=[
            f"python tools/train_net.py --config projects/detection/{config}.yaml" for config in CONFIGS.values()
        ],
        **details(read),
    )
