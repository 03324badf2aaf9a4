"""The real ingredients of the miniature benchmark: handwritten digits, photographs and fonts that packages ship.

Nothing is downloaded. Each ingredient, where it comes from, and its licence:

* Digits: `sklearn.datasets.load_digits`, a copy of the test part of "Optical Recognition of Handwritten Digits"
  (E. Alpaydin and C. Kaynak, UCI Machine Learning Repository, 1998; CC BY 4.0, https://doi.org/10.24432/C50P49):
  1,797 digits of 13 writers, 32 x 32 bitmaps counted in blocks of 4 x 4 pixels.
* Photographs: `china.jpg` and `flower.jpg` of `sklearn.datasets.load_sample_images`, both 640 x 427, Creative Commons
  Attribution 2.0. scikit-learn's `images/README.txt` credits both to danielbuechele on Flickr; the address it gives for
  the flower is that of another Flickr account, vultilion (photos/vultilion/6056698931), so we name both.
* Fonts: DejaVu (Bitstream Vera licence, free to use and redistribute; DejaVu's changes are in the public domain) and
  STIX General (SIL Open Font License 1.1) as bundled with matplotlib, see `LICENSE_DEJAVU` and `LICENSE_STIX` there.
  matplotlib's Computer Modern fonts are not used: their licence text is not installed beside them.

Images are float32 in [0, 1] unless stated otherwise; a *mask* is the amount of ink, (H, W), 0 paper and 1 ink.
"""

from __future__ import annotations

import warnings
from functools import cache
from pathlib import Path

import matplotlib
import numpy as np
from PIL import Image
from sklearn.datasets import load_digits, load_sample_images

DIGIT_NAMES = ("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine")
# The digits come in writers' order, so halves by index also separate most writers.
DIGIT_SPLITS = {"dev": (0, 898), "test": (898, 1797)}
# Vertical strips of both photographs, as fractions of their width: no pixel belongs to two of them.
PHOTO_STRIPS = {"reference": (0.0, 0.6), "dev": (0.6, 0.8), "test": (0.8, 1.0)}
FONT_FILES = tuple(
    f"{name}.ttf"
    for name in (
        *("DejaVuSans", "DejaVuSans-Bold", "DejaVuSans-Oblique", "DejaVuSans-BoldOblique"),
        *("DejaVuSerif", "DejaVuSerif-Bold", "DejaVuSerif-Italic", "DejaVuSerif-BoldItalic"),
        *("DejaVuSansMono", "DejaVuSansMono-Bold", "DejaVuSansMono-Oblique", "DejaVuSansMono-BoldOblique"),
        *("STIXGeneral", "STIXGeneralBol", "STIXGeneralItalic", "STIXGeneralBolIta"),
    )
)


@cache
def real_digits(split: str) -> tuple[np.ndarray, np.ndarray]:
    """Handwritten digits of one split of the data set.

    Args:
        split: "dev" (images 0-897) or "test" (898-1796).

    Returns:
        Ink (N, 8, 8) float32 in [0, 1] and labels (N,) int in 0..9.

    Raises:
        ValueError: `split` is neither of the two.
    """
    if split not in DIGIT_SPLITS:
        raise ValueError(f"split is {split!r}; choose one of {sorted(DIGIT_SPLITS)}")
    start, stop = DIGIT_SPLITS[split]
    digits = load_digits()
    return (digits.images[start:stop] / 16).astype(np.float32), digits.target[start:stop].astype(int)


@cache
def photo_strip(strip: str) -> tuple[Image.Image, ...]:
    """The strip of each photograph that belongs to one part of the benchmark.

    Args:
        strip: "reference", "dev" or "test"; see `PHOTO_STRIPS`.

    Returns:
        Two RGB images, as wide as the strip and 427 high.

    Raises:
        ValueError: there is no such strip.
    """
    if strip not in PHOTO_STRIPS:
        raise ValueError(f"strip is {strip!r}; choose one of {sorted(PHOTO_STRIPS)}")
    left, right = PHOTO_STRIPS[strip]
    crops = []
    for pixels in load_sample_images().images:
        width = pixels.shape[1]
        crops.append(Image.fromarray(pixels[:, round(left * width) : round(right * width)]))
    return tuple(crops)


def photo_patch(
    strip: str, size: tuple[int, int], rng: np.random.Generator, scale: tuple[float, float] = (0.25, 0.6)
) -> np.ndarray:
    """A random piece of a photograph that is not flat.

    Args:
        strip: which part of the photographs, see `photo_strip`.
        size: (height, width) of the patch in pixels.
        rng: source of randomness.
        scale: smallest and largest reduction of the photograph's size; a patch that would be larger than the strip
            is cut at the smallest reduction that fits.

    Returns:
        (H, W, 3) float32 in [0, 1], standard deviation >= 0.1 where 50 draws find such a piece.
    """
    height, width = size
    patch: np.ndarray = np.zeros((height, width, 3), np.float32)
    for _ in range(50):
        photo = photo_strip(strip)[rng.integers(2)]
        fits = max(height / photo.height, width / photo.width)
        factor = max(rng.uniform(*scale), fits)
        crop_h, crop_w = height / factor, width / factor
        top, left = rng.uniform(0, photo.height - crop_h + 1e-6), rng.uniform(0, photo.width - crop_w + 1e-6)
        box = (left, top, min(left + crop_w, photo.width), min(top + crop_h, photo.height))
        piece = photo.resize((width, height), Image.Resampling.BOX, box=box)
        patch = np.asarray(piece, np.float32) / 255
        if rng.random() < 0.5:
            patch = patch[:, ::-1]
        if patch.mean(axis=2).std() >= 0.1:
            break
    return np.ascontiguousarray(patch)


@cache
def fonts_with(character: str) -> tuple[Path, ...]:
    """The fonts among `FONT_FILES` that draw a character.

    Raises:
        FileNotFoundError: matplotlib's fonts are not where matplotlib keeps them.
    """
    folder = Path(matplotlib.get_data_path()) / "fonts" / "ttf"
    found = tuple(folder / name for name in FONT_FILES if ord(character) in _charmap(folder / name))
    if not found:
        raise FileNotFoundError(f"none of matplotlib's fonts in {folder} draws {character!r}; reinstall matplotlib")
    return found


@cache
def _charmap(font: Path) -> frozenset[int]:
    from matplotlib.ft2font import FT2Font

    if not font.is_file():
        return frozenset()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return frozenset(FT2Font(str(font)).get_charmap())
