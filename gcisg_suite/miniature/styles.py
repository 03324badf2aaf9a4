"""The two looks of the benchmark: what differs between source and target, and nothing else does.

* *real*: the mask inverts the photograph under it, |b - ink| (the rule of MNIST-M, Ganin et al. 2016), sensor noise;
* *synthetic*: ink of one flat colour on paper of another, sharp edges, no texture, no noise; in dots, as old printers.
"""

from __future__ import annotations

from colorsys import hsv_to_rgb

import numpy as np

from .ingredients import photo_patch

CONTRAST = 0.75  # share of the photograph left after it is squeezed towards black or white, so that ink stays visible
GAIN = (0.8, 1.15)  # exposure
NOISE = (0.01, 0.05)  # standard deviation of the sensor's noise
INK = (0.45, 0.75)  # strength of the ink of real digits, smallest and largest


def photo_background(strip: str, size: tuple[int, int], rng: np.random.Generator) -> np.ndarray:
    """A photo patch squeezed towards the nearer of black and white: b' = c b + (1 - c) [mean b > 1/2].

    An inverted mid-grey would be invisible. Returns (H, W, 3) float32 in [0, 1].
    """
    patch = photo_patch(strip, size, rng)
    return CONTRAST * patch + (1 - CONTRAST) * float(patch.mean() > 0.5)


def real_look(
    background: np.ndarray, mask: np.ndarray, rng: np.random.Generator, strength: tuple[float, float] = (1.0, 1.0)
) -> np.ndarray:
    """Ink on a photograph.

    Args:
        background: (H, W, 3) float32 in [0, 1] from `photo_background`.
        mask: (H, W) float32 in [0, 1].
        rng: source of randomness (exposure `GAIN`, noise of a standard deviation in `NOISE`).
        strength: of the ink, smallest and largest; faint ink changes the photograph less.

    Returns:
        (H, W, 3) uint8.
    """
    faint = 1.0 if strength == (1.0, 1.0) else rng.uniform(*strength)
    ink = np.abs(background - np.float32(faint) * mask[..., None])
    return to_bytes(ink * rng.uniform(*GAIN) + rng.uniform(*NOISE) * rng.standard_normal(ink.shape, np.float32))


def synthetic_look(mask: np.ndarray, rng: np.random.Generator, pitch: int, dot: int) -> np.ndarray:
    """Ink of one flat colour on paper of another, in dots; half is light on dark.

    (H, W) mask to (H, W, 3) uint8. The dots are squares of `dot` pixels, one every `pitch` pixels.
    """
    paper = np.array(hsv_to_rgb(rng.random(), rng.uniform(0, 0.35), rng.uniform(0.65, 1)))
    ink = np.array(hsv_to_rgb(rng.random(), rng.uniform(0, 0.8), rng.uniform(0, 0.35)))
    rows, columns = np.indices(mask.shape)
    dots = mask * ((rows % pitch < dot) & (columns % pitch < dot))
    image = paper + (ink - paper) * dots[..., None]
    return to_bytes(1 - image if rng.random() < 0.5 else image)


def to_bytes(image: np.ndarray) -> np.ndarray:
    """[0, 1] to uint8, rounded; values outside are clipped."""
    return (np.clip(image, 0, 1) * 255 + 0.5).astype(np.uint8)
