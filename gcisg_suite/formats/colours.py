"""Label images whose pixels name their class by a colour or a number, as a table says."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np
from PIL import Image

from gcisg_core.problems import DataError, reading
from gcisg_suite.formats.forms import Labels

Keys = Mapping[tuple[int, ...], str | None]  # (R, G, B, A), or the number alone -> class; None is none


def labels_by_colour(file: Path, names: Keys, remedy: str) -> Labels:
    """Classes of an image by its colours, those of its palette among them, or by its numbers.

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
