"""The miniature classification benchmark on disk, in VisDA-17's official layout.

    <root>/source/<digit>/00000.png ... image_list.txt      synthetic: stroke-drawn digits, flat grey  (by `seed`)
    <root>/dev/..., <root>/test/...                         real: handwritten digits on photographs    (fixed)
    <root>/reference/{train,val}/<glyph>/...                81 glyph classes in the real look   (by `reference_seed`)

Labels 0-9 are zero ... nine. `dev` is for choosing settings, `test` is reported once. The reference network, which
plays ImageNet's part, learns from `reference/`: classes that are not digits, photographs that are not the target's.
Where the ingredients come from and their licences: `ingredients`. Design and measured criteria: ../README.md.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import numpy as np
from joblib import Parallel, delayed

from .folders import write_by_class, write_class_folders, write_once
from .glyphs import GLYPH_NAMES, GLYPHS, block_counts, draw_glyph, enlarge, fit
from .ingredients import DIGIT_NAMES, real_digits
from .strokes import draw_digit
from .styles import photo_background, real_look, synthetic_look

VERSION = 2  # raise it whenever the pictures change, so that folders of an older recipe are rebuilt
SIZE = 32  # side of a picture, pixels
DIGIT_SIZE = 28  # side of the square a digit fills; the rest is room for its position
COMPOSITES = 3  # pictures made of each real digit
# First word of every random stream: pictures of one kind never share random numbers with another.
STREAMS = {"source": 1, "dev": 2, "test": 3, "train": 4, "val": 5, "restyled": 6}


def source_pictures(seed: int, per_class: int) -> Iterator[tuple[int, np.ndarray]]:
    """Synthetic digits: label and (32, 32, 3) uint8, class by class."""
    for label in range(10):
        yield from ((label, picture) for picture in _source_class(seed, per_class, label))


def _source_class(seed: int, per_class: int, label: int) -> Iterator[np.ndarray]:
    rng = np.random.default_rng([STREAMS["source"], seed, label])
    for _ in range(per_class):
        yield synthetic_look(_placed(fit(draw_digit(label, rng), DIGIT_SIZE), rng), rng)


def restyled_source_pictures(seed: int, per_class: int) -> Iterator[tuple[int, np.ndarray]]:
    """The source's *shapes* in the real look, on the reference's photographs (diagnosis: is the content shared?)."""
    for label in range(10):
        rng = np.random.default_rng([STREAMS["restyled"], seed, label])
        for _ in range(per_class):
            yield label, _real_picture(block_counts(draw_digit(label, rng)), "reference", rng)


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


def reference_pictures(part: str, seed: int, per_class: int, size: int, label: int) -> Iterator[np.ndarray]:
    """Deformed glyphs of one class in the real look, (size, size, 3) uint8; `part` is "train" or "val"."""
    rng = np.random.default_rng([STREAMS[part], seed, label])
    for _ in range(per_class):
        yield _real_picture(block_counts(draw_glyph(GLYPHS[label], rng)), "reference", rng, size)


def prepare_source(folder: Path, seed: int = 0, per_class: int = 800, progress: bool = True) -> Path:
    """Write the synthetic source of one seed (8,000 pictures); see `prepare`."""
    recipe = {"recipe": "source", "version": VERSION, "seed": seed, "per_class": per_class}
    draw, title = partial(_source_class, seed, per_class), f"source, seed {seed}" if progress else None
    write_once(Path(folder), recipe, lambda at: write_by_class(at, DIGIT_NAMES, draw, title))
    return Path(folder)


def prepare_target(folder: Path, split: str, composites: int = COMPOSITES) -> Path:
    """Write one split of the real target ("dev": 2,694 pictures, "test": 2,697); see `prepare`."""
    recipe = {"recipe": split, "version": VERSION, "composites": composites}
    write_once(
        Path(folder), recipe, lambda at: write_class_folders(at, DIGIT_NAMES, target_pictures(split, composites))
    )
    return Path(folder)


def prepare_reference(
    folder: Path,
    seed: int = 0,
    per_class: int = 200,
    val_per_class: int = 20,
    size: int = SIZE,
    progress: bool = True,
) -> Path:
    """Write the stand-in for ImageNet, `train/` (16,200 pictures) and `val/` (1,620), of one reference seed.

    Another seed gives other pictures of the same 81 classes; use another folder for it. `size` is the side of a picture
    in pixels: the dense tasks may want 64.
    """
    recipe = {"recipe": "reference", "version": VERSION, "seed": seed}
    recipe |= {"train": per_class, "val": val_per_class, "size": size}

    def write(at: Path) -> None:
        for part, count in (("train", per_class), ("val", val_per_class)):
            (at / part).mkdir()
            draw = partial(reference_pictures, part, seed, count, size)
            write_by_class(at / part, GLYPH_NAMES, draw, f"reference {part}, seed {seed}" if progress else None)

    write_once(Path(folder), recipe, write)
    return Path(folder)


def prepare(root: Path, seed: int = 0, reference_seed: int = 0, progress: bool = True) -> Path:
    """Write the whole benchmark, 31,211 small files (66 MB), or reuse what is there.

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
    Parallel(n_jobs=-1)(delayed(prepare_target)(root / split, split) for split in ("dev", "test"))
    prepare_reference(root / "reference", reference_seed, progress=progress)
    return root


def _placed(mask: np.ndarray, rng: np.random.Generator, size: int = SIZE) -> np.ndarray:
    """A mask at a random place of a (size, size) picture."""
    free = size - mask.shape[0]
    top, left = rng.integers(0, free + 1, 2)
    picture = np.zeros((size, size), np.float32)
    picture[top : top + mask.shape[0], left : left + mask.shape[1]] = mask
    return picture


def _real_picture(blocks: np.ndarray, strip: str, rng: np.random.Generator, size: int = SIZE) -> np.ndarray:
    mask = _placed(enlarge(blocks, size * DIGIT_SIZE // SIZE), rng, size)
    return real_look(photo_background(strip, (size, size), rng), mask, rng)


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
