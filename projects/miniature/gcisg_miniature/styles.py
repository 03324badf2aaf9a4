"""The two looks of the benchmark: what differs between source and target, and nothing else does.

* *real*: the mask inverts the photograph under it, |b - ink| (the rule of MNIST-M, Ganin et al. 2016), sensor noise;
* *synthetic*: flat grey ink on flat grey paper, sharp edges, no texture, no colour, no noise.
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


def synthetic_greys(rng: np.random.Generator) -> tuple[float, float]:
    """Grey of paper and of ink for one synthetic picture: light paper (0.6 to 1), dark ink (0 to 0.3)."""
    return float(rng.uniform(0.6, 1.0)), float(rng.uniform(0.0, 0.3))


def synthetic_look(mask: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Dark grey ink on light grey paper, (H, W) mask to (H, W, 3) uint8."""
    paper, ink = synthetic_greys(rng)
    return to_bytes(np.repeat((paper + (ink - paper) * mask)[..., None], 3, axis=2))


def to_bytes(image: np.ndarray) -> np.ndarray:
    """[0, 1] to uint8, rounded; values outside are clipped."""
    return (np.clip(image, 0, 1) * 255 + 0.5).astype(np.uint8)
