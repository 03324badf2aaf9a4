"""The miniature benchmark for classification: its data, the reference network, and one evaluated run."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from mmengine.runner import Runner

from gcisg_cls.classifier import SynToRealClassifier
from gcisg_cls.datasets import ClassFolderDataset
from gcisg_cls.model_metrics import build_dataset, metric_values, train_config
from gcisg_core.integrations.mmengine import unwrap
from gcisg_suite.miniature import classification
from gcisg_suite.miniature.evaluated import HELD_OUT_SEED, evaluated_once
from gcisg_suite.miniature.reference import pretrain
from gcisg_suite.places import mini_root, project_folder

PROJECT = project_folder(__file__, "classification")


def prepare_reference(seed: int) -> Path:
    """Train another reference network (an hour): its images, order and start differ from the benchmark's (seed 0)."""
    goal = mini_root() / f"reference_{seed}.pth"
    if not goal.is_file():
        pretrain(goal, seed)
    return goal


def train(
    config: str, work_dir: Path, overrides: Sequence[str] = (), seed: int = 0, source: str = "synthetic"
) -> tuple[Runner, SynToRealClassifier]:
    """Train one of the project's configs (``gcisg_mini``), or resume a run that was stopped.

    Each seed has its own images; `source` says of which kind, see :data:`gcisg_suite.miniature.classification.SOURCES`.
    """
    folder = None
    if seed or source != "synthetic":  # the config's own otherwise
        folder = classification.source(mini_root() / "classification", seed, source)
    runner = train_config(PROJECT / f"{config}.py", work_dir, overrides, seed, folder)
    return runner, unwrap(runner.model)


def split(runner: Runner, name: str) -> ClassFolderDataset:
    """The ``dev`` split of the target (settings are chosen on it), its ``test`` split (reported), or ``synthetic``."""
    root = mini_root() / "classification"
    folder = classification.source(root, HELD_OUT_SEED) if name == "synthetic" else root / name
    return build_dataset(runner.cfg.val_dataloader.dataset, root=str(folder))


def train_and_evaluate(
    config: str,
    splits: Sequence[str],
    work_dir: Path,
    overrides: Sequence[str] = (),
    seed: int = 0,
    source: str = "synthetic",
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

    return evaluated_once(work_dir, splits, lambda: train(config, work_dir, overrides, seed, source), evaluate_split)
