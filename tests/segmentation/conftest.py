"""Tiny folders in the official layouts, with random scenes."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from cityscapesscripts.helpers.labels import labels
from PIL import Image

SIZE = (64, 96)  # height, width
PALETTE = [channel for label in labels if label.id >= 0 for channel in label.color]


def _save(path: Path, array: np.ndarray, palette: bool = False) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    image = Image.fromarray(array)
    if palette:
        image.putpalette(PALETTE)
    image.save(path)


@pytest.fixture
def gtav(tmp_path: Path) -> Path:
    """Four pairs: `images/00001.png` and palette files `labels/00001.png`."""
    rng = np.random.default_rng(0)
    root = tmp_path / "data" / "gta5"
    for number in range(1, 5):
        _save(root / "images" / f"{number:05d}.png", rng.integers(0, 256, (*SIZE, 3), np.uint8))
        _save(root / "labels" / f"{number:05d}.png", rng.integers(0, 34, SIZE, np.uint8), palette=True)
    return root


@pytest.fixture
def cityscapes(tmp_path: Path) -> Path:
    """Two pairs of each split in city folders, labels as `labelIds`."""
    rng = np.random.default_rng(1)
    root = tmp_path / "data" / "cityscapes"
    for split, city in (("train", "aachen"), ("val", "munster")):
        for frame in range(2):
            name = f"{city}_{frame:06d}_000019"
            image, label = rng.integers(0, 256, (*SIZE, 3), np.uint8), rng.integers(0, 34, SIZE, np.uint8)
            _save(root / "leftImg8bit" / split / city / f"{name}_leftImg8bit.png", image)
            _save(root / "gtFine" / split / city / f"{name}_gtFine_labelIds.png", label)
    return root


def truncate(path: Path) -> None:
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


# Fault -> (folder of the file at fault, how to plant it, what the message must say).
FAULTS = {
    "truncated image": ("images", truncate, "not a readable image"),
    "no image at all": ("images", lambda path: path.write_text("<html>"), "not a readable image"),
    "single colour": ("images", lambda path: _save(path, np.zeros((*SIZE, 3), np.uint8)), "every pixel has the colour"),
    "truncated label": ("labels", truncate, "cannot be read as a label image"),
    "colour label": ("labels", lambda path: _save(path, np.zeros((*SIZE, 3), np.uint8)), "image mode RGB"),
    "size mismatch": (
        "labels",
        lambda path: _save(path, np.zeros((60, 96), np.uint8), palette=True),
        "label is 96 x 60 pixels, its image 96 x 64",
    ),
    "outside the table": (
        "labels",
        lambda path: _save(path, np.full(SIZE, 77, np.uint8), palette=True),
        "label values [77] on 6144 pixels",
    ),
}


@pytest.fixture(params=FAULTS)
def fault(request: pytest.FixtureRequest, gtav: Path) -> tuple[Path, str]:
    """GTAV with one fault in its second pair: the file at fault and what a message must say of it."""
    folder, plant, message = FAULTS[request.param]
    path = gtav / folder / "00002.png"
    plant(path)
    return path, message
