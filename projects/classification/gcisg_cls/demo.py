"""The classification part of the demonstration: baseline and GCISG on the miniature, and what they look at."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from gcisg_cls.mini import train_and_measure
from gcisg_cls.panels import panel
from gcisg_suite.report.page import Picture, Section, compare
from gcisg_suite.report.runs import curves, details, read_run

CONFIGS = {"baseline": "baseline_mini", "GCISG": "gcisg_mini"}
MEASURES = {"accuracy": "accuracy %", "match_rate": "match rate %", "acc_in": "Acc_IN %", "cka": "CKA"}


def classification_section(runs: Path, overrides: Sequence[str] = ()) -> Section:
    """Train both models, measure them on the test half.

    Args:
        runs: Where the runs are kept; a finished one is not repeated.
        overrides: ``key=value`` for both configs.
    """
    results = {name: train_and_measure(config, ["test"], runs / config, overrides) for name, config in CONFIGS.items()}
    columns, rows = compare({name: result["test"] for name, result in results.items()}, MEASURES)
    read = {name: read_run(runs / config, name) for name, config in CONFIGS.items()}
    iterations = read["GCISG"].config["train_cfg"]["max_iters"]
    return Section(
        title="Classification: drawn digits to photographed handwriting",
        text=[
            "Trained on digits drawn with pen strokes on a flat ground, measured on real handwriting (UCI optdigits) "
            "over photographs, which training never sees. The pretrained network knows 81 other glyphs in the real "
            "style; Acc_IN is how much of that is left, CKA how alike the features still are, match rate the share of "
            "predictions that survive a change of colour and sharpness.",
            f"One seed, {iterations} iterations each; "
            + ", ".join(f"{name} {result['seconds']:.0f} s" for name, result in results.items())
            + ". Means over seeds, with intervals, are in the README of projects/classification.",
        ],
        columns=columns,
        rows=rows,
        pictures=[
            Picture(curves(read), "Losses while training, means of the last 50 iterations.", chart=True),
            panel(read),
        ],
        commands=[
            f"python tools/train_net.py --config projects/classification/{config}.py" for config in CONFIGS.values()
        ],
        **details(read),
    )
