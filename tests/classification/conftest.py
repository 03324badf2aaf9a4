from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from gcisg_suite.miniature.network import MiniResNet

CLASSES = ("bird", "boat", "bus")


def write_images(root: Path, per_class: int = 4, seed: int = 0) -> Path:
    """A part of a data set in VisDA-17's layout: one hue a class, noise of its own an image."""
    rng = np.random.default_rng(seed)
    lines = []
    for label, name in enumerate(CLASSES):
        (root / name).mkdir(parents=True)
        for number in range(per_class):
            pixels = rng.integers(0, 120, (36, 32, 3))
            pixels[..., label] += 120
            Image.fromarray(pixels.astype(np.uint8)).save(root / name / f"{number}.png")
            lines.append(f"{name}/{number}.png {label}")
    (root / "image_list.txt").write_text("\n".join(lines) + "\n")
    return root


@pytest.fixture
def images(tmp_path):
    return write_images(tmp_path / "images")


@pytest.fixture
def mini(tmp_path, monkeypatch):
    """$GCISG_DATA with a miniature of the miniature: source, dev, test, and a random reference network."""
    folder = tmp_path / "data" / "mini" / "classification"
    for seed, part in enumerate(["source", "dev", "test", "reference/train", "reference/val"]):
        write_images(folder / part, seed=seed)
    torch.manual_seed(0)
    torch.save(MiniResNet(num_classes=3).state_dict(), tmp_path / "data" / "mini" / "reference.pth")
    monkeypatch.setenv("GCISG_DATA", str(tmp_path / "data"))
    monkeypatch.chdir(tmp_path)
    return tmp_path


# Overrides that fit the miniature's configs to three classes and a few small steps.
CLASS_NAMES = "[bird,boat,bus]"
TINY = [
    "model.num_classes=3",
    f"train_dataloader.dataset.dataset.classes={CLASS_NAMES}",
    f"val_dataloader.dataset.classes={CLASS_NAMES}",
    f"test_dataloader.dataset.classes={CLASS_NAMES}",
    "train_dataloader.batch_size=4",
    "train_cfg.max_iters=6",
    "train_cfg.val_interval=6",
    "default_hooks.checkpoint.interval=2",
    "default_hooks.logger.interval=1",
]
