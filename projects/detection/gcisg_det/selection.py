"""The images that checkpoints of a detector are chosen on."""

from __future__ import annotations

import logging
from pathlib import Path

from detectron2.config import CfgNode
from detectron2.engine import HookBase
from detectron2.utils import comm

from gcisg_core.run_folder import POINTER
from gcisg_suite.selection.during_training import Selector

from .datasets import setup_datasets

logger = logging.getLogger(f"detectron2.{__name__}")  # goes where the framework logs


def target_config(cfg: CfgNode, data: str | None = None) -> CfgNode:
    """The config, unfrozen: the first of `DATASETS.TEST` is used, or what the analysis is given as ``data``."""
    cfg.defrost()
    return cfg


def source_config(cfg: CfgNode, data: str) -> CfgNode:
    """The config with source images as test images.

    Args:
        cfg: The run's config.
        data: A folder for `DATASETS.ROOT`, in which the first of `DATASETS.TRAIN` is found, or a JSON file in COCO's
            format that lies above its images.
    """
    cfg.defrost()
    if Path(data).is_file():
        cfg.DATASETS.COCO = [*cfg.DATASETS.COCO, ["source_validation", data, str(Path(data).parent)]]
        cfg.DATASETS.TEST = ("source_validation",)
    else:
        cfg.DATASETS.ROOT, cfg.DATASETS.TEST = data, (cfg.DATASETS.TRAIN[0],)
    cfg.MODEL.WEIGHTS = ""  # nothing is compared with the pretrained network
    return cfg


class SelectionHook(HookBase):
    """Evaluates each checkpoint for its choice when it is written, on one process; the ranking goes to the log.

    It stands behind the hook that writes checkpoints.
    """

    def before_train(self) -> None:
        """Reads the lists of images."""
        self.seen = ""
        cfg = self.trainer.cfg
        self.selector = Selector(Path(cfg.OUTPUT_DIR), cfg, cfg.MODEL.DEVICE) if comm.is_main_process() else None
        setup_datasets(cfg)

    def after_step(self) -> None:
        """Evaluates what was written in this step."""
        pointer = Path(self.trainer.cfg.OUTPUT_DIR) / POINTER
        written = pointer.read_text() if self.selector and pointer.is_file() else ""
        if self.selector and written != self.seen:
            self.seen = written
            self.selector.evaluate()
            setup_datasets(self.trainer.cfg)  # the source's images were registered under the same names

    def after_train(self) -> None:
        """Says what is chosen, if training went to its end."""
        if self.selector and self.trainer.iter >= self.trainer.max_iter:
            logger.info("Checkpoints:\n%s", self.selector.report())
            setup_datasets(self.trainer.cfg)
