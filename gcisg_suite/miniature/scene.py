"""A scene: what is drawn and written, and how its objects are placed."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np
from scipy import ndimage

WIDTH, HEIGHT = 128, 96  # pixels
COUNTS = (1, 4)  # fewest and most glyphs of a scene


@dataclass(frozen=True)
class SceneObject:
    """One digit of a scene.

    Attributes:
        digit: 0..9.
        name: the Cityscapes class it plays.
        mask: (H, W) bool, its pixels: one 8-connected piece that no other object touches.
    """

    digit: int
    name: str
    mask: np.ndarray

    @property
    def box(self) -> tuple[int, int, int, int]:
        """Left, top, right, bottom pixel, counted from 0, all inclusive."""
        rows, columns = np.flatnonzero(self.mask.any(1)), np.flatnonzero(self.mask.any(0))
        return int(columns[0]), int(rows[0]), int(columns[-1]), int(rows[-1])


@dataclass(frozen=True)
class Scene:
    """A picture (H, W, 3) uint8 and its objects."""

    image: np.ndarray
    objects: tuple[SceneObject, ...]


def compose(
    draw: Callable[[int, int], np.ndarray],
    shares: Mapping[int, float],
    sides: tuple[int, int],
    rng: np.random.Generator,
    whole: bool = True,
) -> tuple[np.ndarray, list[tuple[int, np.ndarray]]]:
    """Glyphs at random places that do not touch.

    Args:
        draw: `(label, side)` -> a glyph as a mask (side, side) in [0, 1].
        shares: label -> its share of the glyphs.
        sides: smallest and largest side of a glyph, pixels.
        rng: source of randomness.
        whole: refuse glyphs of more than one piece: they would be two instances in Cityscapes' polygons.

    Returns:
        The ink (H, W) in [0, 1], and label and pixels (H, W) of each glyph.
    """
    ink = np.zeros((HEIGHT, WIDTH), np.float32)
    taken = np.zeros((HEIGHT, WIDTH), bool)
    placed: list[tuple[int, np.ndarray]] = []
    labels, weights = [*shares], np.array([*shares.values()], float)
    wanted = rng.integers(COUNTS[0], COUNTS[1] + 1)
    for _ in range(200):  # small glyphs nearly always find room; a crowded scene ends with fewer
        if len(placed) == wanted:
            break
        label = int(rng.choice(labels, p=weights / weights.sum()))
        side = int(rng.integers(sides[0], sides[1] + 1))
        top, left = rng.integers(0, HEIGHT - side + 1), rng.integers(0, WIDTH - side + 1)
        where = (slice(top, top + side), slice(left, left + side))
        glyph = draw(label, side)
        if (taken[where] & (glyph > 0.05)).any():
            continue
        solid = _without_pinholes(glyph > 0.5)
        if whole and ndimage.label(solid, structure=np.ones((3, 3)))[1] != 1:
            continue
        mask = np.zeros((HEIGHT, WIDTH), bool)
        mask[where] = solid
        ink[where] = np.maximum(ink[where], glyph)
        taken |= ndimage.binary_dilation(mask, iterations=3)
        placed.append((label, mask))
    return ink, placed


def _without_pinholes(mask: np.ndarray, smallest: int = 6) -> np.ndarray:
    """Fill holes of fewer than `smallest` pixels: their outlines would be no polygons."""
    holes, count = ndimage.label(ndimage.binary_fill_holes(mask) & ~mask, structure=np.ones((3, 3)))
    sizes = np.bincount(holes.ravel(), minlength=count + 1)
    return mask | ((sizes < smallest)[holes] & (holes > 0))
