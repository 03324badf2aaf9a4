"""The choice of a detector's checkpoint: its images, and the hook that evaluates checkpoints in training."""

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

logger = logging.getLogger(f"detectron2.{__name__}")  # a child of the framework's logger, so that it uses its handlers


def target_config(config: Any, data: str | None = None) -> Any:
    """The unchanged config: its first test set is used, or the ``data`` that the analysis is given."""
    return config


def source_config(config: Any, data: str) -> Any:
    """The config with source images as test images.

    Args:
        config: The run's config.
        data: A folder for `DATASETS.ROOT` with the first data set of `DATASETS.TRAIN`, or a JSON file in COCO's format
            in a folder above its images.
    """
    setup = setup_of(config)
    setup.use_data("source_validation", data)
    if not Path(data).is_file():
        setup.use_training_data()
    setup.forget_weights()  # no comparison with the pretrained network follows
    return setup.config


class SelectionHook(HookBase):
    """Evaluates each checkpoint when it is written, on one process, and logs the ranking at the end.

    It must come after the hook that writes checkpoints.
    """

    def before_train(self) -> None:
        """Read the lists of images."""
        self.seen = ""
        cfg = self.trainer.cfg
        self.selector = Selector(Path(cfg.OUTPUT_DIR), cfg, cfg.MODEL.DEVICE) if comm.is_main_process() else None
        setup_datasets(cfg)

    def after_step(self) -> None:
        """Evaluate the checkpoint that was written in this step, if any."""
        pointer = Path(self.trainer.cfg.OUTPUT_DIR) / POINTER
        written = pointer.read_text() if self.selector and pointer.is_file() else ""
        if self.selector and written != self.seen:
            self.seen = written
            self.selector.evaluate()
            setup_datasets(self.trainer.cfg)  # the evaluation registered the source images under the same names

    def after_train(self) -> None:
        """Log the choice, if training is complete."""
        if self.selector and self.trainer.iter >= self.trainer.max_iter:
            logger.info("Checkpoints:\n%s", self.selector.report())
            setup_datasets(self.trainer.cfg)
