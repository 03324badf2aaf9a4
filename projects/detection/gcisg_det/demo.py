"""The detection part of the demonstration."""

from __future__ import annotations

from functools import partial

from gcisg_suite.report.demonstration import DIGITS, Demonstration

from .panels import panel

detection_section = Demonstration(
    task="detection",
    title="Detection: synthetic scenes to photographed ones",
    text="The same scenes with boxes around eight digits, in Sim10k's folders for training. Evaluated on real "
    "handwriting over photographs, in Cityscapes' folders, by COCO's AP (mean over the eight classes).",
    metrics={"AP": "AP", "AP50": "AP50", "AP75": "AP75"},
    panel=partial(panel, names=DIGITS),
).section
