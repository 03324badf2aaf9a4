"""Synthetic digits, drawn as pen strokes: Catmull-Rom curves through jittered points of hand-made templates.

The shapes are ours. They are *drawn* rather than set in a font because the benchmark is about a gap of style: rendered
font digits differ from handwriting in shape too, which no style-invariant training can make up for.
The skeletons are in `templates`.
"""

from __future__ import annotations

import numpy as np
from PIL import Image, ImageDraw

from .templates import TEMPLATES, Point

_CANVAS = 96  # pixels; three times the size of a classification image, so that reduced strokes have soft edges


def catmull_rom(points: np.ndarray, steps: int = 12) -> np.ndarray:
    """A smooth curve through all points (uniform Catmull-Rom; end points doubled).

    Args:
        points: (N, 2), N >= 2.
        steps: samples between two neighbours.

    Returns:
        ((N - 1) * steps + 1, 2) samples, `points` among them.
    """
    p = np.concatenate([points[:1], points, points[-1:]])
    before, start, end, after = p[:-3, None], p[1:-2, None], p[2:-1, None], p[3:, None]
    t = (np.arange(steps) / steps)[None, :, None]
    curve = 0.5 * (
        2 * start
        + (end - before) * t
        + (2 * before - 5 * start + 4 * end - after) * t**2
        + (3 * start - before - 3 * end + after) * t**3
    )
    return np.concatenate([curve.reshape(-1, 2), points[-1:]])


def draw_digit(digit: int, rng: np.random.Generator) -> np.ndarray:
    """One synthetic digit as ink.

    Template, point jitter (sd 0.05), rotation (sd 0.10 rad), shear (sd 0.15), width-to-height (0.55 to 0.95) and pen
    width (9 to 19 % of the height) are random.

    Args:
        digit: 0..9.
        rng: source of randomness.

    Returns:
        (96, 96) float32 mask, 0 or 1.

    Raises:
        ValueError: `digit` is outside 0..9.
    """
    if not 0 <= digit <= 9:
        raise ValueError(f"digit is {digit}; it must be in 0..9")
    template = TEMPLATES[digit][rng.integers(len(TEMPLATES[digit]))]
    angle, shear = rng.normal(0, 0.10), rng.normal(0, 0.15)
    cos, sin = np.cos(angle), np.sin(angle)
    aspect = rng.uniform(0.55, 0.95)
    warp = np.array([[cos, -sin], [sin, cos]]) @ np.array([[aspect, shear], [0, 1]])
    moved: dict[Point, np.ndarray] = {}
    pen = rng.uniform(0.09, 0.19) * 64 / 2
    picture = Image.new("L", (_CANVAS, _CANVAS))
    draw = ImageDraw.Draw(picture)
    for stroke in template:
        for point in stroke:  # strokes that meet in a point still meet after the jitter
            if point not in moved:
                moved[point] = warp @ (np.array(point) - 0.5 + rng.normal(0, 0.05, 2))
        curve = catmull_rom(np.stack([moved[point] for point in stroke])) * 64 + _CANVAS / 2
        for x, y in curve.tolist():
            draw.ellipse((x - pen, y - pen, x + pen, y + pen), fill=255)
    return np.asarray(picture, np.float32) / 255
