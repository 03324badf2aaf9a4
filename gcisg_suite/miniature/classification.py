"""The miniature classification benchmark on disk, in VisDA-17's official layout.

    <root>/source/<digit>/00000.png ... image_list.txt      synthetic: stroke-drawn digits, flat colours (by `seed`)
    <root>/dev/..., <root>/test/...                         real: handwritten digits on photographs    (fixed)
    <root>/reference/{train,val}/<glyph>/...                81 glyph classes in the real look   (by `reference_seed`)

Labels 0-9 are zero ... nine. `dev` is for choosing settings, `test` is reported once. The reference network, which
plays ImageNet's part, knows pictures such as those of `reference/`: classes that are no digits, strips of the
photographs that are not the target's. Ingredients, licences, design and measured criteria: docs/miniature.md.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

import numpy as np

from gcisg_suite.progress import shown_if_slow

from .folders import write_by_class, write_class_folders, write_once
from .glyphs import GLYPH_NAMES, GLYPHS, draw_glyph, fit, scanned
from .ingredients import DIGIT_NAMES, real_digits
from .strokes import draw_digit
from .styles import INK, photo_background, real_look, synthetic_look

VERSION = 14  # raise it whenever the pictures change, so that folders of an older recipe are rebuilt
SIZE = 64  # side of a picture, pixels
DIGIT_SIDES = (36, 56)  # smallest and largest side of the square a digit fills
PITCH, DOT = 4, 1  # of the synthetic dots, and their side, pixels
GLYPH_SIDES = (52, 52)  # the same of the glyphs that the reference network knows
COMPOSITES = 1  # pictures made of each real digit
# First word of every random stream: pictures of one kind never share random numbers with another.
STREAMS = {"source": 1, "dev": 2, "test": 3, "train": 4, "val": 5, "restyled": 6, "real": 7}


def synthetic_class(seed: int, per_class: int, label: int) -> Iterator[np.ndarray]:
    """Stroke-drawn digits of one class in a flat colour on a flat colour, (64, 64, 3) uint8."""
    rng = np.random.default_rng([STREAMS["source"], seed, label])
    for _ in range(per_class):
        yield synthetic_look(_placed(fit, draw_digit(label, rng), DIGIT_SIDES, rng), rng, PITCH, DOT)


def restyled_class(seed: int, per_class: int, label: int) -> Iterator[np.ndarray]:
    """The source's *shapes* in the real look, on the reference's photographs (for the criteria)."""
    rng = np.random.default_rng([STREAMS["restyled"], seed, label])
    for _ in range(per_class):
        yield _real_picture(draw_digit(label, rng), "reference", rng)


def real_class(seed: int, per_class: int, label: int) -> Iterator[np.ndarray]:
    """Handwritten digits of the split `train` on the reference's photographs (for the criteria)."""
    rng = np.random.default_rng([STREAMS["real"], seed, label])
    inks, labels = real_digits("train")
    for _ in range(per_class):
        yield _real_picture(rng.choice(inks[labels == label]), "reference", rng)


# What a run can be trained on -> the pictures of a seed, a number for each class, and a class.
SOURCES = {"synthetic": synthetic_class, "restyled": restyled_class, "real": real_class}


def target_pictures(split: str, composites: int = COMPOSITES) -> Iterator[tuple[int, np.ndarray]]:
    """Real digits of one split, each on `composites` photo patches that follow each other; the same on every call.

    Raises:
        ValueError: `split` is neither "dev" nor "test".
    """
    inks, labels = real_digits(split)
    rng = np.random.default_rng([STREAMS[split], 0])
    for ink, label in zip(inks, labels, strict=True):
        for _ in range(composites):
            yield int(label), _real_picture(ink, split, rng)


def reference_pictures(part: str, seed: int, per_class: int, label: int) -> Iterator[np.ndarray]:
    """Deformed glyphs of one class in the real look, (64, 64, 3) uint8; `part` is "train" or "val"."""
    rng = np.random.default_rng([STREAMS[part], seed, label])
    for _ in range(per_class):
        yield _real_picture(draw_glyph(GLYPHS[label], rng), "reference", rng, GLYPH_SIDES, (1.0, 1.0))


def prepare_source(
    folder: Path, seed: int = 0, per_class: int = 500, kind: str = "synthetic", progress: bool = True
) -> Path:
    """Write the training pictures of one seed (5,000); `kind` says which, see `SOURCES`."""
    recipe = {"recipe": "source", "version": VERSION, "seed": seed, "per_class": per_class, "kind": kind}
    draw, title = partial(SOURCES[kind], seed, per_class), f"{kind} pictures, seed {seed}" if progress else None
    write_once(Path(folder), recipe, lambda at: write_by_class(at, DIGIT_NAMES, draw, title))
    return Path(folder)


def source(root: Path, seed: int, kind: str = "synthetic") -> Path:
    """The folder of the training pictures of a seed, made where it is missing."""
    name = "source" if kind == "synthetic" else kind
    return prepare_source(root / (f"{name}_{seed}" if seed else name), seed, kind=kind)


def prepare_target(folder: Path, split: str, composites: int = COMPOSITES) -> Path:
    """Write one split of the real target ("dev", "test": 1,500 pictures each); see `prepare`."""
    recipe = {"recipe": split, "version": VERSION, "composites": composites}
    pictures = shown_if_slow(target_pictures(split, composites), f"real pictures, {split}", "picture")
    write_once(Path(folder), recipe, lambda at: write_class_folders(at, DIGIT_NAMES, pictures))
    return Path(folder)


def prepare_reference(
    folder: Path,
    seed: int = 0,
    per_class: int = 20,
    val_per_class: int = 10,
    progress: bool = True,
) -> Path:
    """Write pictures of the kind that the reference network knows, `train/` (1,620) and `val/` (810).

    `val` tells how much of it is left (Acc_IN), `train` lends its styles to DRPC; the network itself was trained on
    more (`reference`). Another seed gives other pictures of the same 81 classes; use another folder for it.
    """
    recipe = {"recipe": "reference", "version": VERSION, "seed": seed}
    recipe |= {"train": per_class, "val": val_per_class}

    def write(at: Path) -> None:
        for part, count in (("train", per_class), ("val", val_per_class)):
            (at / part).mkdir()
            draw = partial(reference_pictures, part, seed, count)
            write_by_class(at / part, GLYPH_NAMES, draw, f"reference {part}, seed {seed}" if progress else None)

    write_once(Path(folder), recipe, write)
    return Path(folder)


def prepare(root: Path, seed: int = 0, reference_seed: int = 0, progress: bool = True) -> Path:
    """Write the whole benchmark, 10,430 small files, or reuse what is there.

    Args:
        root: the folder that gets `source`, `dev`, `test` and `reference`.
        seed: of the synthetic source only.
        reference_seed: of the reference's pictures only.
        progress: show progress bars.

    Returns:
        `root`.

    Raises:
        FileExistsError: one of the four folders holds files that this program did not write.
    """
    root = Path(root)
    prepare_source(root / "source", seed, progress=progress)
    for split in ("dev", "test"):
        prepare_target(root / split, split)
    prepare_reference(root / "reference", reference_seed, progress=progress)
    return root


def _placed(
    scale: Callable[[np.ndarray, int], np.ndarray],
    shape: np.ndarray,
    sides: tuple[int, int],
    rng: np.random.Generator,
    size: int = SIZE,
) -> np.ndarray:
    """A shape, scaled to a random side, at a random place of a (size, size) mask."""
    side = int(rng.integers(sides[0], sides[1] + 1)) if sides[0] < sides[1] else sides[0]
    top, left = rng.integers(0, size - side + 1, 2)
    mask = np.zeros((size, size), np.float32)
    mask[top : top + side, left : left + side] = scale(shape, side)
    return mask


def _real_picture(
    shape: np.ndarray,
    strip: str,
    rng: np.random.Generator,
    sides: tuple[int, int] = DIGIT_SIDES,
    strength: tuple[float, float] = INK,
) -> np.ndarray:
    mask = _placed(scanned, shape, sides, rng)
    return real_look(photo_background(strip, (SIZE, SIZE), rng), mask, rng, strength)


def main() -> None:
    """Command line: `python -m gcisg_suite.miniature.classification --root data/mini/classification --seed 0`."""
    parser = argparse.ArgumentParser(description="Write the miniature classification benchmark in VisDA-17's layout.")
    parser.add_argument("--root", type=Path, default=Path("data/mini/classification"), help="folder to write to")
    parser.add_argument("--seed", type=int, default=0, help="seed of the synthetic source")
    parser.add_argument("--reference-seed", type=int, default=0, help="seed of the reference's pictures")
    arguments = parser.parse_args()
    start = time.perf_counter()
    root = prepare(arguments.root, arguments.seed, arguments.reference_seed)
    print(f"{root}: source (seed {arguments.seed}), dev, test, reference (seed {arguments.reference_seed})")
    print(f"{time.perf_counter() - start:.1f} s")


if __name__ == "__main__":
    main()
