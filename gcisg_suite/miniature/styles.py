"""The two looks of the benchmark: what differs between source and target, and nothing else does.

* *real*: the mask inverts the photograph under it, |b - ink| (the rule of MNIST-M, Ganin et al. 2016), sensor noise;
* *synthetic*: flat grey ink on flat grey paper, sharp edges, no texture, no colour, no noise;
* *synthetic, cluttered*: flat grey ink on faint grey shapes, darker or lighter than them, for scenes: a dense
  task must also tell objects from the ground, which flat paper cannot teach.
"""

from __future__ import annotations

import numpy as np

from .ingredients import photo_patch

CONTRAST = 0.75  # share of the photograph left after it is squeezed towards black or white, so that ink stays visible
GAIN = (0.8, 1.15)  # exposure
NOISE = (0.02, 0.07)  # standard deviation of the sensor's noise


def photo_background(strip: str, size: tuple[int, int], rng: np.random.Generator) -> np.ndarray:
    """A photo patch squeezed towards the nearer of black and white: b' = c b + (1 - c) [mean b > 1/2].

    An inverted mid-grey would be invisible. Returns (H, W, 3) float32 in [0, 1].
    """
    patch = photo_patch(strip, size, rng)
    return CONTRAST * patch + (1 - CONTRAST) * float(patch.mean() > 0.5)


def real_look(background: np.ndarray, mask: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Ink on a photograph.

    Args:
        background: (H, W, 3) float32 in [0, 1] from `photo_background`.
        mask: (H, W) float32 in [0, 1].
        rng: source of randomness (exposure `GAIN`, noise of a standard deviation in `NOISE`).

    Returns:
        (H, W, 3) uint8.
    """
    ink = np.abs(background - mask[..., None])
    return to_bytes(ink * rng.uniform(*GAIN) + rng.uniform(*NOISE) * rng.standard_normal(ink.shape, np.float32))


def synthetic_look(mask: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Dark grey ink (0 to 0.3) on light grey paper (0.6 to 1), (H, W) mask to (H, W, 3) uint8."""
    paper, ink = rng.uniform(0.6, 1.0), rng.uniform(0.0, 0.3)
    return to_bytes(np.repeat((paper + (ink - paper) * mask)[..., None], 3, axis=2))


def cluttered_look(mask: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Grey ink on a ground of faint grey shapes, (H, W) mask to (H, W, 3) uint8.

    Ink is dark (0 to 0.3) on a lighter ground (0.55 to 0.85 in the mean, standard deviation 0.005 to 0.04); half of the
    pictures are inverted, since ink on photographs is lighter than its ground as often as darker.
    """
    shapes = _shapes(mask.shape, rng)
    ground = rng.uniform(0.55, 0.85) + rng.uniform(0.005, 0.04) * (shapes - shapes.mean()) / shapes.std()
    image = ground * (1 - mask) + rng.uniform(0, 0.3) * mask
    if rng.random() < 0.5:
        image = 1 - image
    return to_bytes(np.repeat(image[..., None], 3, axis=2))


def _shapes(size: tuple[int, ...], rng: np.random.Generator, count: int = 60) -> np.ndarray:
    """Ellipses and rectangles of random greys, each over those before it: the "dead leaves" model of images."""
    rows, columns = np.mgrid[: size[0], : size[1]]
    canvas = np.zeros(size)
    for _ in range(count):
        y, x = rows - rng.uniform(0, size[0]), columns - rng.uniform(0, size[1])
        angle, radius, aspect = rng.uniform(0, np.pi), rng.uniform(3, 25), rng.uniform(0.3, 1)
        u, v = x * np.cos(angle) + y * np.sin(angle), (y * np.cos(angle) - x * np.sin(angle)) / aspect
        inside = u**2 + v**2 < radius**2 if rng.random() < 0.5 else np.maximum(abs(u), abs(v)) < radius
        canvas[inside] = rng.standard_normal()
    return canvas


def to_bytes(image: np.ndarray) -> np.ndarray:
    """[0, 1] to uint8, rounded; values outside are clipped."""
    return (np.clip(image, 0, 1) * 255 + 0.5).astype(np.uint8)
