"""Reads label images whose pixels encode classes as colours or numbers, according to a table."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np
from PIL import Image

from gcisg_core.problems import DataError, reading
from gcisg_suite.formats.forms import Labels

Keys = Mapping[tuple[int, ...], str | None]  # (R, G, B, A) or (number,) -> class; None: no class


def labels_by_colour(file: Path, names: Keys, remedy: str) -> Labels:
    """The classes of an image, by its colours (for palette images, those of the palette) or by its numbers.

    Raises:
        DataError: the file cannot be read, or a colour or number is not in the table.
    """
    with reading(file, "an image", remedy), Image.open(file) as image:
        pixels = np.asarray(image.convert("RGBA") if image.mode in ("P", "RGB", "RGBA") else image)
    flat = pixels.reshape(-1, pixels.shape[2] if pixels.ndim == 3 else 1)
    packed = flat.astype(np.int64) @ (256 ** np.arange(flat.shape[1])[::-1])
    _, first, inverse = np.unique(packed, return_index=True, return_inverse=True)
    table = {}
    for number, index in enumerate(first):
        colour = tuple(flat[index].tolist())
        if colour not in names:
            expected = ", ".join(map(str, list(names)[:5]))
            raise DataError(file, f"the colour or number {colour} has no class, expected {expected}", remedy)
        if (name := names[colour]) is not None:
            table[number] = name
    return Labels(inverse.reshape(pixels.shape[:2]), table)
