"""The detection part of the demonstration."""

from __future__ import annotations

from gcisg_suite.report.demonstration import Demonstration

from .panels import panel

detection_section = Demonstration(
    task="detection",
    title="Detection: synthetic scenes to photographed ones",
    text="The same scenes in Sim10k's folders for training; boxes around one digit that plays the car. Evaluated on "
    "real handwriting over photographs, in Cityscapes' folders, by COCO's AP (boxes: coco).",
    metrics={"AP": "AP", "AP50": "AP50", "AP75": "AP75"},
    panel=panel,
).section
