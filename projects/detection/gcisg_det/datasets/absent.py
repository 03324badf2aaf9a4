"""Images that are named somewhere and are not there."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from pathlib import Path

from detectron2.config import CfgNode

SKIP = "In training, INPUT.ON_BAD_SAMPLE skip does without"
logger = logging.getLogger(f"detectron2.{__name__}")  # goes where the framework logs


def skipped_sets(cfg: CfgNode) -> set[str]:
    """The data sets of which absent images are skipped: those of training alone, where the config says so."""
    alone = {name for name in cfg.DATASETS.TRAIN if name not in cfg.DATASETS.TEST}
    return alone if cfg.INPUT.ON_BAD_SAMPLE == "skip" else set()


def goes_on(skips: bool, missing: Sequence[object], total: int, where: str | Path) -> bool:
    """Whether a data set does without the images that are missing, after a warning; never without all."""
    if not (skips and 0 < len(missing) < total):
        return False
    logger.warning("Skipped: %d images of %s do not exist, such as %s", len(missing), where, missing[0])
    return True
