"""Evaluates a checkpoint."""

from __future__ import annotations

from .config import read_config
from .datasets import setup_datasets
from .engine import Trainer
from .evaluators import main_metrics
from .lazy.config import read_config as read_lazy
from .lazy.train import evaluate as evaluate_nodes
from .setups import setup_of


def evaluate(config: str, checkpoint: str, with_metrics: bool, work_dir: str) -> dict[str, float]:
    """Load a checkpoint strictly and, if asked, evaluate it on the last test set, the reported one.

    Raises:
        DataError, ValueError: the file is damaged or belongs to another model, or the data cannot be used.
    """
    cfg = read_config(config, ["MODEL.DEVICE", "cpu", "MODEL.WEIGHTS", "", "OUTPUT_DIR", work_dir])
    cfg.DATASETS.TEST = cfg.DATASETS.TEST[-1:]
    setup_datasets(cfg)
    setup = setup_of(cfg)
    detector = setup.build()
    setup.load(detector, checkpoint)
    return main_metrics(Trainer.test(cfg, detector)[cfg.DATASETS.TEST[0]]) if with_metrics else {}


def evaluate_lazy(config: str, checkpoint: str, with_metrics: bool, work_dir: str) -> dict[str, float]:
    """:func:`evaluate` for a LazyConfig, on its test data."""
    loaded = read_lazy(config, [])
    loaded.train.output_dir, loaded.train.device = work_dir, "cpu"
    setup = setup_of(loaded)
    detector = setup.build()
    setup.load(detector, checkpoint)
    return main_metrics(evaluate_nodes(loaded, detector) or {}) if with_metrics else {}
