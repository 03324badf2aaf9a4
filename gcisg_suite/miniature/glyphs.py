"""Glyph masks: font glyphs bent into something like handwriting, and the common shape of all masks.

Every real mask goes through `scanned`, so a glyph of the reference's classes is as smooth as a real digit before it
meets its background.
"""

from __future__ import annotations

from functools import cache
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw, ImageFont
from scipy import ndimage

from .ingredients import fonts_with

# 81 classes the reference network learns. No digit, nothing that could pass for one when handwritten (O, I, l, Z, S, B,
# b, G, q, g, Y, Э, ...), nothing that another class becomes when deformed (K and k, C and c).
GLYPHS = "ACEFHJKLMNPRTUVWXadefhmnrtΓΔΛΞΠΣΦΨΩαηλμξπωДЖИЦШЮЯЫԱԲԳԴԵԺԽԾԿՀՃՄՆՌՔ#&+%=√∞∃∀≠¥€£¶★†"  # noqa: RUF001 - letters that look alike are meant
GLYPH_NAMES = tuple(f"u{ord(glyph):04x}" for glyph in GLYPHS)
SCANNED_SIZE = 20  # pixels; MNIST scaled its digits to fit a square of this side
_CANVAS = 64
_FONT_PIXELS = 44


@cache
def _font(path: Path) -> ImageFont.FreeTypeFont:
    return ImageFont.truetype(str(path), _FONT_PIXELS)


@cache
def _rendered(glyph: str, path: Path) -> np.ndarray:
    """The glyph in one font, (64, 64) float32 mask, centred."""
    picture = Image.new("L", (_CANVAS, _CANVAS))
    font = _font(path)
    left, top, right, bottom = font.getbbox(glyph)
    at = ((_CANVAS - right - left) / 2, (_CANVAS - bottom - top) / 2)
    ImageDraw.Draw(picture).text(at, glyph, fill=255, font=font)
    mask = np.asarray(picture, np.float32) / 255
    mask.setflags(write=False)
    return mask


@cache
def _spline_matrix(size: int, knots: int) -> np.ndarray:
    """(size, knots) weights of cubic interpolation from a coarse grid; two products bend a whole image."""
    return np.stack([ndimage.zoom(row, size / knots, order=3, mode="nearest") for row in np.eye(knots)], axis=1)


def deform(mask: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Rotation (sd .25 rad), shear (sd .35), elastic 4 x 4 grid (sd 2.5 pixels of 64), thicker or thinner, then binary.

    Args:
        mask: (S, S) float32 in [0, 1].
        rng: source of randomness.

    Returns:
        (S, S) float32 of zeros and ones.
    """
    size = mask.shape[0]
    angle, shear = rng.normal(0, 0.25), rng.normal(0, 0.35)
    cos, sin = np.cos(angle), np.sin(angle)
    warp = np.array([[cos, -sin], [sin, cos]]) @ np.array([[1, 0], [shear, rng.uniform(0.8, 1.3)]])
    centre = (size - 1) / 2
    grid = np.stack(np.meshgrid(np.arange(size), np.arange(size), indexing="ij")).astype(float) - centre
    spline = _spline_matrix(size, 4)
    shift = spline @ rng.normal(0, 2.5, (2, 4, 4)) @ spline.T
    at = np.tensordot(warp, grid, 1) + centre + shift
    bent = ndimage.map_coordinates(mask, at, order=1, mode="constant")
    grow = rng.integers(-1, 3)  # fonts are thinner than the pens of MNIST
    if grow > 0:
        bent = ndimage.grey_dilation(bent, (int(grow) + 1, int(grow) + 1))
    elif grow < 0:
        thin = ndimage.grey_erosion(bent, (2, 2))
        bent = thin if thin.sum() > 0.4 * bent.sum() else bent  # hairlines would vanish
    return (bent > 0.5).astype(np.float32)


def draw_glyph(glyph: str, rng: np.random.Generator) -> np.ndarray:
    """One deformed glyph in a random font, (64, 64) float32 of zeros and ones.

    Raises:
        FileNotFoundError: no bundled font draws the character.
    """
    paths = fonts_with(glyph)
    mask = _rendered(glyph, paths[rng.integers(len(paths))])
    for _ in range(10):  # a hairline glyph can vanish in the threshold
        bent = deform(mask, rng)
        if bent.sum() > 40:
            return bent
    return (mask > 0.3).astype(np.float32)


def fit(mask: np.ndarray, size: int) -> np.ndarray:
    """Cut a mask to its ink and scale it into a centred square; proportions are kept, as in MNIST.

    Args:
        mask: (H, W) float32 in [0, 1] with ink in it.
        size: side of the square in pixels.

    Returns:
        (size, size) float32 in [0, 1].

    Raises:
        ValueError: the mask is empty.
    """
    rows, columns = np.flatnonzero(mask.max(1) > 0.5), np.flatnonzero(mask.max(0) > 0.5)
    if not len(rows):
        raise ValueError("the mask holds no ink")
    cut = mask[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]
    scale = size / max(cut.shape)
    height, width = (max(1, round(side * scale)) for side in cut.shape)
    method = Image.Resampling.BOX if scale < 1 else Image.Resampling.BICUBIC
    small = Image.fromarray(cut).resize((width, height), method)
    square = np.zeros((size, size), np.float32)
    top, left = (size - height) // 2, (size - width) // 2
    square[top : top + height, left : left + width] = np.clip(np.asarray(small), 0, 1)
    return square


def scanned(mask: np.ndarray, size: int) -> np.ndarray:
    """A mask with the detail of MNIST, whose digits fill 20 x 20 pixels, enlarged to (size, size)."""
    return fit(fit(mask, SCANNED_SIZE), size)
