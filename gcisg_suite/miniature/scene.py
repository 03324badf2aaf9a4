"""A scene: what is drawn and written."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np


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
