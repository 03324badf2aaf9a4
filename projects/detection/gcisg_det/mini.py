"""The miniature benchmark for detection: its scenes, a backbone that plays the role of ImageNet's, an evaluated run."""

from __future__ import annotations

import json
import math
from argparse import Namespace
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from detectron2.layers import ShapeSpec
from torch import Tensor, nn
from torchvision.datasets import ImageFolder
from tqdm import tqdm

from gcisg_core.files import replacing
from gcisg_suite.miniature import classification, scenes
from gcisg_suite.miniature.evaluated import evaluated_once
from gcisg_suite.miniature.network import one_thread
from gcisg_suite.places import mini_root, project_folder

from .config import read_config
from .engine import run
from .mini_backbone import build_mini_resnet

PROJECT = project_folder(__file__, "detection")
CONFIG = PROJECT / "Base-mini.yaml"
SPLITS = {"dev": "cityscapes_val_car_coco", "test": "cityscapes_test_car_coco"}


def prepare_mini() -> Path:
    """Makes the scenes and the backbone's weights that are missing; returns the weights' file.

    Everything goes to `$GCISG_DATA/mini` (`data/mini` by default); about 2 minutes from nothing on one thread.
    """
    root = mini_root()
    scenes.prepare(root / "scenes")
    weights = root / "reference_detectron2.pth"
    if not weights.is_file():
        pictures = classification.prepare_reference(root / "classification" / "reference")
        model, accuracy = pretrain(_read(pictures / "train"), _read(pictures / "val"))
        print(f"accuracy on the {len(list((pictures / 'train').iterdir())) - 1} reference classes: {accuracy:.1%}")
        with replacing(weights) as partial:
            torch.save({"model": model}, partial)
    return weights


def _read(folder: Path) -> tuple[Tensor, Tensor]:
    """Pictures (N, 3, H, W), RGB, uint8, and labels (N,) of a folder of class folders."""
    data = ImageFolder(str(folder))
    images = np.stack([np.asarray(data.loader(path)) for path, _ in data.samples])
    return torch.from_numpy(images).permute(0, 3, 1, 2), torch.tensor(data.targets)


@one_thread()
def pretrain(
    train: tuple[Tensor, Tensor], val: tuple[Tensor, Tensor], iterations: int = 1200, batch: int = 64, lr: float = 0.1
) -> tuple[dict[str, Tensor], float]:
    """Trains the detector's bottom-up network as a classifier.

    Args:
        train, val: Pictures (N, 3, H, W), RGB, uint8, and labels (N,).
        iterations: Steps of SGD with Nesterov momentum and a cosine schedule.
        batch: Pictures a step.
        lr: First learning rate.

    Returns:
        Weights by their names in the detector, and the accuracy on `val`.
    """
    torch.manual_seed(0)
    # Detectron2's networks keep BatchNorm frozen; here its statistics are made.
    cfg = read_config(CONFIG, ["MODEL.RESNETS.NORM", "BN", "MODEL.BACKBONE.FREEZE_AT", "0"])
    mean, std = (torch.tensor(values)[:, None, None] for values in (cfg.MODEL.PIXEL_MEAN, cfg.MODEL.PIXEL_STD))
    backbone = build_mini_resnet(cfg, ShapeSpec(channels=3)).train()
    head = nn.Linear(backbone.output_shape()["res5"].channels, int(train[1].max()) + 1)

    def scores(images: Tensor) -> Tensor:
        logits: Tensor = head(backbone((images - mean) / std)["res5"].mean(dim=(2, 3)))
        return logits

    parameters = [*backbone.parameters(), *head.parameters()]
    optimizer = torch.optim.SGD(parameters, lr, momentum=0.9, nesterov=True, weight_decay=5e-4)
    for iteration in tqdm(range(iterations), desc="detection reference", unit="step", leave=False):
        for group in optimizer.param_groups:
            group["lr"] = lr * (1 + math.cos(math.pi * iteration / iterations)) / 2
        chosen = torch.randint(len(train[0]), (batch,))
        loss = F.cross_entropy(scores(train[0][chosen]), train[1][chosen])
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    backbone.eval()
    with torch.no_grad():
        correct = [
            scores(images).argmax(1) == labels for images, labels in zip(*(t.split(256) for t in val), strict=True)
        ]
    state = {f"backbone.bottom_up.{name}": value for name, value in backbone.state_dict().items()}
    kept = {name: value for name, value in state.items() if not name.endswith("num_batches_tracked")}
    return kept, torch.cat(correct).float().mean().item()


def train_and_evaluate(
    config: str, splits: Sequence[str], work_dir: Path, overrides: Sequence[str] = (), seed: int = 0
) -> dict[str, Any]:
    """Train a config and evaluate it, once; the arguments: :mod:`gcisg_suite.miniature.evaluated`.

    Returns:
        AP, AP50 and AP75 for each split, and ``seconds`` of training and evaluation.
    """

    def evaluate(_: None, split: str) -> dict[str, Any]:
        box = json.loads((work_dir / "inference" / SPLITS[split] / "results.json").read_text())["results"]["bbox"]
        return {key: box[key] for key in ("AP", "AP50", "AP75")}

    return evaluated_once(work_dir, splits, lambda: train(config, splits, work_dir, overrides, seed), evaluate)


def train(config: str, splits: Sequence[str], work_dir: Path, overrides: Sequence[str], seed: int) -> None:
    """Train one of the project's configs and evaluate it on these splits, or resume a run that was stopped.

    Each seed has synthetic scenes of its own.
    """
    if seed:
        scenes.prepare(mini_root() / f"scenes_{seed}", seed)
        overrides = [*overrides, "DATASETS.ROOT", str(mini_root() / f"scenes_{seed}")]
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
