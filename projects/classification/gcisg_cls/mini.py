"""The miniature benchmark for classification: its data, its reference network, and one evaluated run."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from mmengine.runner import Runner, save_checkpoint

from gcisg_cls.classifier import SynToRealClassifier
from gcisg_cls.datasets import ClassFolderDataset
from gcisg_cls.model_metrics import build_dataset, metric_values, train_config
from gcisg_core.integrations.mmengine import build_runner, unwrap
from gcisg_suite.miniature import classification
from gcisg_suite.miniature.evaluated import evaluated_once
from gcisg_suite.miniature.network import one_thread
from gcisg_suite.places import mini_root, project_folder

PROJECT = project_folder(__file__, "classification")


def prepare_mini() -> Path:
    """Make the images and the reference network that are missing; returns the reference's state dict file."""
    root = mini_root()
    classification.prepare(root / "classification")
    reference = root / "reference.pth"
    if not reference.is_file():
        pretrain(reference)
    return reference


def prepare_reference(seed: int) -> Path:
    """Make another reference network; images, order and initialisation differ from the benchmark's (seed 0)."""
    goal = mini_root() / f"reference_{seed}.pth"
    if not goal.is_file():
        images = classification.prepare_reference(mini_root() / "classification" / f"reference_{seed}", seed)
        pretrain(goal, [f"train_dataloader.dataset.dataset.root={images / 'train'}"], seed)
    return goal


def pretrain(goal: Path, overrides: Sequence[str] = (), seed: int = 0) -> None:
    """Train the reference network and save it in torchvision's form, with its linear head as ``fc``."""
    work_dir = goal.with_suffix("")
    with one_thread():
        model = build_runner(PROJECT / "reference_mini.py", overrides, work_dir, seed, resume=True).train()
    classifier = {f"fc.{name}": value for name, value in model.head.state_dict().items()}
    save_checkpoint(model.backbone.state_dict() | classifier, str(goal))


def train(
    config: str, work_dir: Path, overrides: Sequence[str] = (), seed: int = 0
) -> tuple[Runner, SynToRealClassifier]:
    """Train one of the project's configs (``gcisg_mini``), or continue a stopped run.

    Each seed has its own synthetic images.
    """
    source = None
    if seed:
        source = mini_root() / "classification" / f"source_{seed}"
        classification.prepare_source(source, seed)
    runner = train_config(PROJECT / f"{config}.py", work_dir, overrides, seed, source)
    return runner, unwrap(runner.model)


def split(runner: Runner, name: str) -> ClassFolderDataset:
    """The ``dev`` split of the target (settings are chosen on it) or its ``test`` split (reported)."""
    return build_dataset(runner.cfg.val_dataloader.dataset, root=str(mini_root() / "classification" / name))


def train_and_evaluate(
    config: str, splits: Sequence[str], work_dir: Path, overrides: Sequence[str] = (), seed: int = 0
) -> dict[str, Any]:
    """Train a config and evaluate it, once; the arguments: :mod:`gcisg_suite.miniature.evaluated`.

    Returns:
        What :func:`gcisg_cls.model_metrics.metric_values` returns, for each split, and ``seconds`` of training.
    """
    reference = mini_root() / "classification" / "reference" / "val"

    def evaluate_split(trained: tuple[Runner, SynToRealClassifier], name: str) -> dict[str, Any]:
        runner, model = trained
        pretraining = build_dataset(runner.cfg.val_dataloader.dataset, root=str(reference), classes=None)
        return metric_values(model, split(runner, name), runner.cfg.model.weights, pretraining)

    return evaluated_once(work_dir, splits, lambda: train(config, work_dir, overrides, seed), evaluate_split)
