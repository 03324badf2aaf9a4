"""The images that checkpoints of a detector are chosen on."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

from detectron2.engine import HookBase
from detectron2.utils import comm

from gcisg_core.run_folder import POINTER
from gcisg_suite.selection.during_training import Selector

from .datasets import setup_datasets
from .setups import setup_of

logger = logging.getLogger(f"detectron2.{__name__}")  # goes where the framework logs


def target_config(config: Any, data: str | None = None) -> Any:
    """The config as it is: its first test set is used, or what the analysis is given as ``data``."""
    return config


def source_config(config: Any, data: str) -> Any:
    """The config with source images as test images.

    Args:
        config: The run's config.
        data: A folder for `DATASETS.ROOT`, in which the first of `DATASETS.TRAIN` is found, or a JSON file in COCO's
            format that lies above its images.
    """
    setup = setup_of(config)
    setup.use_data("source_validation", data)
    if not Path(data).is_file():
        setup.use_training_data()
    setup.forget_weights()  # nothing is compared with the pretrained network
    return setup.config


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
