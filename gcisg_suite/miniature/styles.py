"""The two looks of the benchmark: what differs between source and target, and nothing else does.

* *real*: the mask inverts the photograph under it, |b - ink| (the rule of MNIST-M, Ganin et al. 2016), sensor noise;
* *synthetic*: ink of one flat colour on paper of another, sharp edges, no texture, no noise, and a colour that mostly
  tells the digit: synthetic data are biased where their makers had no reason to vary.
"""

from __future__ import annotations

from colorsys import hsv_to_rgb

import numpy as np

from .ingredients import photo_patch

CONTRAST = 0.75  # share of the photograph left after it is squeezed towards black or white, so that ink stays visible
GAIN = (0.8, 1.15)  # exposure
NOISE = (0.01, 0.05)  # standard deviation of the sensor's noise
INK = (0.45, 0.75)  # strength of the ink of real digits, smallest and largest
BIAS = 0.9  # share of synthetic inks whose hue is that of their digit


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


def synthetic_look(
    mask: np.ndarray, labels: np.ndarray | int, rng: np.random.Generator, inverted: float = 0.0
) -> np.ndarray:
    """Dark ink on light paper; the hue of the ink tells the digit in `BIAS` of the pictures, as no real ink does.

    Args:
        mask: (H, W) float32 in [0, 1].
        labels: the digit, or the nearest one to each pixel (H, W).
        rng: source of randomness.
        inverted: share of pictures that are light on dark.

    Returns:
        (H, W, 3) uint8.
    """
    light = rng.random() < inverted
    hues = np.where(rng.random(10) < BIAS, (np.arange(10) / 10 + rng.normal(0, 0.02, 10)) % 1, rng.random(10))
    values = (0.75, 1.0) if light else (0.15, 0.5)
    inks = np.array([hsv_to_rgb(hue, rng.uniform(0.5, 1), rng.uniform(*values)) for hue in hues])
    paper = np.array(hsv_to_rgb(rng.random(), rng.uniform(0, 0.3), rng.uniform(0.7, 1)))
    paper = 0.3 * paper if light else paper
    return to_bytes(paper + (inks[labels] - paper) * mask[..., None])


def to_bytes(image: np.ndarray) -> np.ndarray:
    """[0, 1] to uint8, rounded; values outside are clipped."""
    return (np.clip(image, 0, 1) * 255 + 0.5).astype(np.uint8)
