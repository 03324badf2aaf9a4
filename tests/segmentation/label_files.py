"""Label images of your own, with three classes, and folders of them."""

import numpy as np
from PIL import Image

from gcisg_seg.audit import audit_image_labels

NAMES = ("road", "car", "person")
COLOURS = [(128, 64, 128), (0, 0, 142), (220, 20, 60)]
DRAWN = np.kron(np.arange(3, dtype=np.uint8).reshape(1, 3), np.ones((30, 16), np.uint8))
VOID = np.where(np.arange(48) < 4, 255, DRAWN).astype(np.uint8)  # the same with a border of no class
PIPELINE = [{"type": f"mmseg.{name}"} for name in ("LoadCheckedImage", "LoadClassLabels", "PackSegInputs")]


def indexed(numbers, colours, order):
    """An indexed image whose palette has `colours` at the places of `order`; 255 stays."""
    places = np.arange(256, dtype=np.uint8)
    places[list(range(len(order)))] = order
    palette = np.full((256, 3), 7, np.uint8)
    palette[list(order)] = colours[: len(order)]
    image = Image.fromarray(places[numbers])
    image.putpalette(palette.ravel().tolist())
    return image


def coloured(numbers):
    return Image.fromarray(np.array([*COLOURS, *[(0, 0, 0)] * 253], np.uint8)[numbers])


def write_pairs(folder):
    """Three pairs; the labels are indexed, each with a palette in another order."""
    rng = np.random.default_rng(0)
    for part in ("images", "labels"):
        (folder / part).mkdir()
    for number, order in enumerate([(0, 1, 2), (2, 0, 1), (1, 2, 0)]):
        Image.fromarray(rng.integers(0, 255, (30, 48, 3), np.uint8)).save(folder / f"images/{number}.png")
        indexed(VOID, COLOURS, order).save(folder / f"labels/{number}.png")
    return folder


def audit(folder, classes=NAMES, colours=COLOURS, **more):
    return audit_image_labels(folder / "images", folder / "labels", classes, colours, **more)
