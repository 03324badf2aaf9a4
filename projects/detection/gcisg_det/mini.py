"""The miniature benchmark for detection: one evaluated run."""

from __future__ import annotations

import json
from argparse import Namespace
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from gcisg_suite.miniature import scenes
from gcisg_suite.miniature.evaluated import HELD_OUT_SEED, evaluated_once
from gcisg_suite.places import mini_root, project_folder

from .config import read_config
from .engine import run

PROJECT = project_folder(__file__, "detection")
SPLITS = {"dev": "mini_dev", "test": "mini_test", "synthetic": "mini_synthetic"}


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
        AP, AP50 and AP75 for each split, and ``seconds`` of training and evaluation.
    """

    def evaluate(_: None, split: str) -> dict[str, Any]:
        box = json.loads((work_dir / "inference" / SPLITS[split] / "results.json").read_text())["results"]["bbox"]
        return {key: box[key] for key in ("AP", "AP50", "AP75")}

    return evaluated_once(work_dir, splits, lambda: train(config, splits, work_dir, overrides, seed, source), evaluate)


def _data_sets(root: Path) -> dict[str, list[str]]:
    """Name -> annotations and images of the miniature's data sets, in the scenes of a seed."""
    data = read_config(PROJECT / "Base-mini.yaml").DATASETS
    return {name: [str(root / Path(at).relative_to(data.ROOT)) for at in paths] for name, *paths in data.COCO}


def train(
    config: str, splits: Sequence[str], work_dir: Path, overrides: Sequence[str], seed: int, source: str = "synthetic"
) -> None:
    """Train one of the project's configs and evaluate it on these splits, or resume a run that was stopped.

    Each seed has its own scenes; `source` says of which kind, see :data:`gcisg_suite.miniature.scenes.SOURCES`.
    """
    if seed or source != "synthetic" or "synthetic" in splits:  # the config's own otherwise
        root = scenes.source(mini_root(), seed, source)
        found = _data_sets(root)
        if "synthetic" in splits:
            found[SPLITS["synthetic"]] = _data_sets(scenes.source(mini_root(), HELD_OUT_SEED))["mini_train"]
        listed = [[name, *paths] for name, paths in found.items()]
        overrides = [*overrides, "DATASETS.ROOT", str(root), "DATASETS.COCO", str(listed)]
    sets = "(" + "".join(f"'{SPLITS[split]}'," for split in splits) + ")"
    alone = {"num_gpus": 1, "num_machines": 1, "machine_rank": 0, "dist_url": "auto", "amp": False, "eval_only": False}
    run(
        Namespace(
            config=str(PROJECT / f"{config}.yaml"),
            overrides=[*overrides, "DATASETS.TEST", sets],
            seed=seed,
            work_dir=str(work_dir),
            resume=True,
            fresh=False,
            **alone,
        )
    )
