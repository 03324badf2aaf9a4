"""The classification part of the demonstration."""

from __future__ import annotations

from gcisg_cls.panels import panel
from gcisg_suite.report.demonstration import Demonstration

classification_section = Demonstration(
    task="classification",
    title="Classification: drawn digits to handwriting on photographs",
    text="Trained on drawn digits, printed in dots on flat paper; evaluated on real handwriting (MNIST) "
    "over photographs, which training never sees. The pretrained network knows 81 other glyphs in the real style; "
    "Acc_IN is how much of that is left, CKA how alike the features still are, match rate the share of predictions "
    "that survive a change of colour and sharpness.",
    metrics={"accuracy": "accuracy %", "match_rate": "match rate %", "acc_in": "Acc_IN %", "cka": "CKA"},
    panel=panel,
).section
