"""Handles images that are listed but do not exist."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from pathlib import Path

from detectron2.config import CfgNode

SKIP = "In training, INPUT.ON_BAD_SAMPLE skip leaves them out"
logger = logging.getLogger(f"detectron2.{__name__}")  # a child of the framework's logger, so that it uses its handlers


def skipped_sets(cfg: CfgNode) -> set[str]:
    """The data sets that skip missing images: those used only for training, if the config asks for it."""
    alone = {name for name in cfg.DATASETS.TRAIN if name not in cfg.DATASETS.TEST}
    return alone if cfg.INPUT.ON_BAD_SAMPLE == "skip" else set()


def skips_missing(skips: bool, missing: Sequence[object], total: int, where: str | Path) -> bool:
    """Whether a data set skips its missing images, which logs a warning; it never skips all of them."""
    if not (skips and 0 < len(missing) < total):
        return False
    logger.warning("Skipped: %d images of %s do not exist, such as %s", len(missing), where, missing[0])
    return True
