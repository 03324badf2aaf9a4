"""The miniature benchmark for classification: its data, its reference network, and one measured run."""

from __future__ import annotations

import os
import time
from collections.abc import Sequence
from pathlib import Path

from mmengine.runner import save_checkpoint

from gcisg_cls.measures import build_dataset, measure
from gcisg_core.integrations.mmengine import build_runner, unwrap
from gcisg_miniature import classification

PROJECT = Path(__file__).resolve().parent.parent


def mini_root() -> Path:
    """``$GCISG_DATA/mini``, by default ``data/mini``."""
    return Path(os.environ.get("GCISG_DATA", "data")) / "mini"


def prepare_mini() -> Path:
    """Make the images and the reference network that are missing; returns the reference's state dict file."""
    root = mini_root()
    classification.prepare(root / "classification")
    reference = root / "reference.pth"
    if not reference.is_file():
        pretrain(reference)
    return reference


def pretrain(goal: Path, overrides: Sequence[str] = (), seed: int = 0) -> None:
    """Train the reference network and save it in torchvision's form: its linear head as ``fc``."""
    work_dir = goal.with_suffix("")
    model = build_runner(PROJECT / "reference_mini.py", overrides, work_dir, seed, resume=True).train()
    state = {f"fc.{name}": value for name, value in model.head.state_dict().items()}
    save_checkpoint(model.backbone.state_dict() | state, str(goal))


def train_and_measure(
    config: str, half: str, overrides: Sequence[str] = (), seed: int = 0, work_dir: Path | None = None
) -> dict[str, float]:
    """Train one of the project's miniature configs and measure it on a half of the target.

    Args:
        config: Its name, ``gcisg_mini``.
        half: ``dev`` (settings are chosen on it) or ``test`` (reported).
        overrides: ``key=value`` each.
        seed: Varies order, augmentation and the head's start.
        work_dir: Where the run is kept.

    Returns:
        What :func:`gcisg_cls.measures.measure` returns, and ``seconds`` of training.
    """
    runner = build_runner(PROJECT / f"{config}.py", overrides, work_dir, seed)
    start = time.perf_counter()
    model = unwrap(runner.train())
    seconds = time.perf_counter() - start
    root = mini_root() / "classification"
    target = build_dataset(runner.cfg.val_dataloader.dataset, root=str(root / half))
    pretraining = build_dataset(runner.cfg.val_dataloader.dataset, root=str(root / "reference" / "val"), classes=None)
    return {**measure(model, target, runner.cfg.model.weights, pretraining), "seconds": seconds}
