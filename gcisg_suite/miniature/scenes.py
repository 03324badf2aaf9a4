"""The miniature benchmark's scenes: several digits on one background, for segmentation and detection.

    <root>/gtav/{images,labels}/00001.png                        synthetic, GTAV's layout: palette PNGs of label IDs
    <root>/sim10k/VOC2012/{JPEGImages,Annotations,ImageSets}     the same synthetic scenes, Sim10k's VOC layout
    <root>/cityscapes/{leftImg8bit,gtFine}/{val,test}/mini/...   real digits, Cityscapes' layout

`val` is the dev split of the digits and of the photographs, `test` the other half; see `ingredients`. Digits play
Cityscapes classes, so readers and evaluators of the real data sets work unchanged:

    paper  road 7      2  car 26      4  person 24      6  motorcycle 32      8  train 31
    0      truck 27    3  bus 28      5  rider 25       7  bicycle 33

1 and 9 do not appear. Cars are drawn three times as often as each other class, since detection scores them alone. In
Sim10k's files 2, 4 and 6 are `car`, `person` and `motorbike`; the other digits are distractors without a box.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable
from functools import cache
from pathlib import Path

import numpy as np
from scipy import ndimage
from tqdm import tqdm

from . import scene_formats
from .folders import write_once
from .glyphs import enlarge, fit
from .ingredients import real_digits
from .scene import Scene, SceneObject
from .strokes import draw_digit
from .styles import cluttered_look, photo_background, real_look

VERSION = 4
WIDTH, HEIGHT = 128, 96  # pixels
SIDES = (24, 48)  # smallest and largest side of a digit, pixels
COUNTS = (1, 4)  # fewest and most digits of a scene
SPLITS = {"val": "dev", "test": "test"}  # Cityscapes split -> half of digits and photographs
# digit -> Cityscapes class and its share of the digits drawn
CLASSES = {
    0: ("truck", 1),
    2: ("car", 3),
    3: ("bus", 1),
    4: ("person", 1),
    5: ("rider", 1),
    6: ("motorcycle", 1),
    7: ("bicycle", 1),
    8: ("train", 1),
}
STREAMS = {"synthetic": 11, "val": 12, "test": 13}


def synthetic_scene(seed: int, index: int) -> Scene:
    """Stroke-drawn digits, flat grey on faint grey shapes; the same for the same seed and index."""
    rng = np.random.default_rng([STREAMS["synthetic"], seed, index])
    ink, objects = _compose(lambda digit, side: fit(draw_digit(digit, rng), side), rng)
    return Scene(cluttered_look(ink, rng), objects)


def real_scene(split: str, index: int) -> Scene:
    """Handwritten digits of one half on a mosaic of 2 x 2 photo patches of the same half; the same on every call.

    A mosaic, because the strips of photograph that belong to one half are too narrow for a whole scene at a scale that
    shows texture.

    Raises:
        ValueError: `split` is neither "val" nor "test".
    """
    if split not in SPLITS:
        raise ValueError(f"split is {split!r}; choose one of {sorted(SPLITS)}")
    rng = np.random.default_rng([STREAMS[split], index])
    blocks, labels = real_digits(SPLITS[split])
    ink, objects = _compose(lambda digit, side: enlarge(rng.choice(blocks[labels == digit]), side), rng)
    tiles = [photo_background(SPLITS[split], (HEIGHT // 2, WIDTH // 2), rng) for _ in range(4)]
    background = np.concatenate([np.concatenate(tiles[:2], axis=1), np.concatenate(tiles[2:], axis=1)])
    return Scene(real_look(background, ink, rng), objects)


def prepare(root: Path, seed: int = 0, train_scenes: int = 300, eval_scenes: int = 60, progress: bool = True) -> Path:
    """Write the scenes in the three layouts, or reuse what is there; about 25 s from nothing on a busy machine.

    Args:
        root: the folder that gets `gtav`, `sim10k` and `cityscapes`.
        seed: of the synthetic scenes only; the real ones never change.
        train_scenes: number of synthetic scenes.
        eval_scenes: number of real scenes in each of `val` and `test`.
        progress: show progress bars.

    Returns:
        `root`.

    Raises:
        FileExistsError: one of the three folders holds files that this program did not write.
    """
    root = Path(root)
    synthetic = {"version": VERSION, "seed": seed, "scenes": train_scenes}

    @cache  # both synthetic layouts show the same scenes; 12 MB for 300
    def drawn() -> list[Scene]:
        indices = tqdm(range(train_scenes), desc="synthetic scenes", unit="scene", disable=not progress, leave=False)
        return [synthetic_scene(seed, index) for index in indices]

    def write_cityscapes(at: Path) -> None:
        for split in SPLITS:
            indices = tqdm(
                range(eval_scenes), desc=f"cityscapes {split}", unit="scene", disable=not progress, leave=False
            )
            scene_formats.write_cityscapes(at, split, (real_scene(split, index) for index in indices))

    write_once(root / "gtav", {"recipe": "gtav", **synthetic}, lambda at: scene_formats.write_gtav(at, drawn()))
    write_once(root / "sim10k", {"recipe": "sim10k", **synthetic}, lambda at: scene_formats.write_sim10k(at, drawn()))
    real = {"recipe": "cityscapes", "version": VERSION, "scenes": eval_scenes}
    write_once(root / "cityscapes", real, write_cityscapes)
    return root


def _compose(
    draw: Callable[[int, int], np.ndarray], rng: np.random.Generator
) -> tuple[np.ndarray, tuple[SceneObject, ...]]:
    """Digits at random places that do not touch: the ink (H, W) in [0, 1] and the objects."""
    ink = np.zeros((HEIGHT, WIDTH), np.float32)
    taken = np.zeros((HEIGHT, WIDTH), bool)
    objects: list[SceneObject] = []
    shares = np.array([share for _, share in CLASSES.values()], float)
    wanted = rng.integers(COUNTS[0], COUNTS[1] + 1)
    for _ in range(200):  # small digits nearly always find room; a crowded scene ends with fewer
        if len(objects) == wanted:
            break
        digit = int(rng.choice(list(CLASSES), p=shares / shares.sum()))
        side = int(rng.integers(SIDES[0], SIDES[1] + 1))
        glyph = draw(digit, side)
        top, left = rng.integers(0, HEIGHT - side + 1), rng.integers(0, WIDTH - side + 1)
        where = (slice(top, top + side), slice(left, left + side))
        solid = _without_pinholes(glyph > 0.5)
        # A broken digit would be two instances in Cityscapes' polygons.
        pieces = ndimage.label(solid, structure=np.ones((3, 3)))[1]
        if pieces != 1 or (taken[where] & (glyph > 0.05)).any():
            continue
        mask = np.zeros((HEIGHT, WIDTH), bool)
        mask[where] = solid
        ink[where] = np.maximum(ink[where], glyph)
        taken |= ndimage.binary_dilation(mask, iterations=3)
        objects.append(SceneObject(digit, CLASSES[digit][0], mask))
    return ink, tuple(objects)


def _without_pinholes(mask: np.ndarray, smallest: int = 6) -> np.ndarray:
    """Fill holes of fewer than `smallest` pixels: their outlines would be no polygons."""
    holes, count = ndimage.label(ndimage.binary_fill_holes(mask) & ~mask, structure=np.ones((3, 3)))
    sizes = np.bincount(holes.ravel(), minlength=count + 1)
    return mask | ((sizes < smallest)[holes] & (holes > 0))


def main() -> None:
    """Command line: `python -m gcisg_suite.miniature.scenes --root data/mini/scenes --seed 0`."""
    parser = argparse.ArgumentParser(description="Write the miniature scenes as GTAV, Sim10k and Cityscapes do.")
    parser.add_argument("--root", type=Path, default=Path("data/mini/scenes"), help="folder to write to")
    parser.add_argument("--seed", type=int, default=0, help="seed of the synthetic scenes")
    parser.add_argument("--train-scenes", type=int, default=300, help="number of synthetic scenes")
    parser.add_argument("--eval-scenes", type=int, default=60, help="number of real scenes in each of val and test")
    arguments = parser.parse_args()
    start = time.perf_counter()
    root = prepare(arguments.root, arguments.seed, arguments.train_scenes, arguments.eval_scenes)
    print(f"{root}: gtav, sim10k (seed {arguments.seed}), cityscapes val and test")
    print(f"{time.perf_counter() - start:.1f} s")


if __name__ == "__main__":
    main()
