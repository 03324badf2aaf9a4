"""The metrics of a checkpoint."""

from __future__ import annotations

from gcisg_core.integrations.detectron2.checkpoints import SafeCheckpointer

from .config import read_config
from .datasets import setup_datasets
from .engine import Trainer
from .evaluators import main_metrics


def evaluate(config: str, checkpoint: str, with_metrics: bool, work_dir: str) -> dict[str, float]:
    """Load a checkpoint strictly and, if asked, evaluate it on the last test set, which is the one to report.

    Raises:
        DataError, ValueError: the file is damaged or not of this config's model, or the data cannot be used.
    """
    cfg = read_config(config, ["MODEL.DEVICE", "cpu", "MODEL.WEIGHTS", "", "OUTPUT_DIR", work_dir])
    cfg.DATASETS.TEST = cfg.DATASETS.TEST[-1:]
    setup_datasets(cfg)
    detector = Trainer.build_model(cfg)
    SafeCheckpointer(detector, cfg=cfg, strict=True).load(checkpoint)
    return main_metrics(Trainer.test(cfg, detector)[cfg.DATASETS.TEST[0]]) if with_metrics else {}
