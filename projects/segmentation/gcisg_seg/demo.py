"""The segmentation section of the demonstration."""

from __future__ import annotations

from functools import partial

from gcisg_seg.panels import COLOURS, panel
from gcisg_suite.report.demonstration import DIGITS, Demonstration

segmentation_section = Demonstration(
    task="segmentation",
    title="Segmentation: synthetic scenes to photographed ones",
    text="Trained on digits printed in dots on flat paper, in GTAV's folders and label files; evaluated on real "
    "handwriting over photographs, in Cityscapes' folders, by mmseg's evaluator. Digits play Cityscapes' classes.",
    metrics={"mIoU": "mIoU %", "aAcc": "pixel accuracy %"},
    panel=partial(panel, colours=COLOURS, names=DIGITS),
).section
