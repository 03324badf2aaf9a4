"""The miniature benchmark's scenes: several digits on one background, for segmentation and detection.

    <root>/gtav/{images,labels}/00001.png                        synthetic, GTAV's layout: palette PNGs of label IDs
    <root>/sim10k/VOC2012/{JPEGImages,Annotations,ImageSets}     the same scenes in wider dots, Sim10k's VOC layout
    <root>/cityscapes/{leftImg8bit,gtFine}/{val,test}/mini/...   real digits, Cityscapes' layout
    <root>/sim10k/coco.json, <root>/cityscapes/{val,test}.json   boxes of all eight digits, COCO's JSON

`val` is the dev split of the digits and of the photographs; see `ingredients`. Digits play Cityscapes classes, so
readers and evaluators of the real data sets work unchanged:

    paper  road 7      2  truck 27    4  person 24      6  motorcycle 32      8  train 31
    0      car 26      3  bus 28      5  rider 25       7  bicycle 33

1 and 9 do not appear. The miniature's detector finds all eight digits, which tells methods apart better than one class.
In Sim10k's own files 0, 4 and 6 are `car`, `person` and `motorbike`; the other digits are distractors without a box.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable
from functools import cache, partial
from pathlib import Path

import numpy as np

from gcisg_suite.progress import progress as with_progress

from . import scene_formats
from .folders import write_once
from .glyphs import fit, scanned
from .ingredients import real_digits
from .parallel import in_parallel
from .scene import HEIGHT, WIDTH, Scene, SceneObject, compose
from .strokes import draw_digit
from .styles import photo_background, real_look, synthetic_look

VERSION = 18  # raise it whenever the pictures change, so that folders of an older recipe are rebuilt
# Split of Cityscapes -> of the digits, of the photographs. `train` is for the criteria alone: what real labels bring.
SPLITS = {"train": ("train", "reference"), "val": ("dev", "dev"), "test": ("test", "test")}
SIDES = (36, 56)  # smallest and largest side of a digit, pixels
PITCH = {"gtav": 5, "sim10k": 6}  # of the synthetic dots in each layout, pixels
DOT = 2  # their side
# digit -> Cityscapes class and its share of the digits drawn
CLASSES = {
    0: ("car", 1),
    2: ("truck", 1),
    3: ("bus", 1),
    4: ("person", 1),
    5: ("rider", 1),
    6: ("motorcycle", 1),
    7: ("bicycle", 1),
    8: ("train", 1),
}
# First word of every random stream: scenes of one kind never share random numbers with another.
STREAMS = {"synthetic": 11, "val": 12, "test": 13, "train": 14, "restyled": 15}


def synthetic_scene(seed: int, index: int, pitch: int = PITCH["gtav"]) -> Scene:
    """Stroke-drawn digits in flat colours on a flat colour; the same for the same seed and index, in dots."""
    rng = np.random.default_rng([STREAMS["synthetic"], seed, index])
    ink, objects = _digits(lambda digit, side: fit(draw_digit(digit, rng), side), rng)
    return Scene(synthetic_look(ink, rng, pitch, DOT), objects)


def restyled_scene(seed: int, index: int) -> Scene:
    """The source's *shapes* in the real look, on the reference's photographs (for the criteria)."""
    rng = np.random.default_rng([STREAMS["restyled"], seed, index])
    ink, objects = _digits(lambda digit, side: scanned(draw_digit(digit, rng), side), rng)
    return Scene(real_look(photo_background("reference", (HEIGHT, WIDTH), rng), ink, rng), objects)


def real_scene(split: str, index: int, seed: int = 0) -> Scene:
    """Handwritten digits of one split on a photograph of the same split; the same on every call.

    Args:
        split: "val", "test" or "train"; see `SPLITS`.
        index: number of the scene.
        seed: of the training scenes; the others are fixed.

    Raises:
        ValueError: there is no such split.
    """
    if split not in SPLITS:
        raise ValueError(f"split is {split!r}; choose one of {sorted(SPLITS)}")
    digits, strip = SPLITS[split]
    rng = np.random.default_rng([STREAMS[split], seed, index])
    inks, labels = real_digits(digits)
    ink, objects = _digits(lambda digit, side: scanned(rng.choice(inks[labels == digit]), side), rng)
    return Scene(real_look(photo_background(strip, (HEIGHT, WIDTH), rng), ink, rng), objects)


def _digits(
    draw: Callable[[int, int], np.ndarray], rng: np.random.Generator
) -> tuple[np.ndarray, tuple[SceneObject, ...]]:
    ink, placed = compose(draw, {digit: share for digit, (_, share) in CLASSES.items()}, SIDES, rng)
    return ink, tuple(SceneObject(digit, CLASSES[digit][0], mask) for digit, mask in placed)


# What a run can be trained on -> the scene of a seed and an index.
SOURCES: dict[str, Callable[[int, int], Scene]] = {
    "synthetic": synthetic_scene,
    "restyled": restyled_scene,
    "real": lambda seed, index: real_scene("train", index, seed),
}


def prepare(
    root: Path,
    seed: int = 0,
    train_scenes: int = 400,
    eval_scenes: int = 150,
    kind: str = "synthetic",
    progress: bool = True,
) -> Path:
    """Write the scenes in the three layouts, or reuse what is there.

    Args:
        root: the folder that gets `gtav`, `sim10k` and `cityscapes`.
        seed: of the training scenes only; the real ones of `val` and `test` never change.
        train_scenes: number of training scenes.
        eval_scenes: number of real scenes in each of `val` and `test`.
        kind: of the training scenes, see `SOURCES`; all but "synthetic" are for the criteria.
        progress: show progress bars.

    Returns:
        `root`.

    Raises:
        FileExistsError: one of the three folders holds files that this program did not write.
    """
    root = Path(root)
    recipe = {"version": VERSION, "seed": seed, "scenes": train_scenes, "kind": kind}

    @cache  # for the labels and the boxes of a layout; 37 KB each
    def drawn(layout: str) -> list[Scene]:
        return _in_parallel(partial(_source, kind, seed, layout), train_scenes, f"{kind} scenes, {layout}", progress)

    def write_sim10k(at: Path) -> None:
        scene_formats.write_coco(at / "coco.json", scene_formats.write_sim10k(at, drawn("sim10k")), drawn("sim10k"))

    def write_cityscapes(at: Path) -> None:
        for split in ("val", "test"):
            found = _in_parallel(partial(real_scene, split), eval_scenes, f"cityscapes {split}", progress)
            images = scene_formats.write_cityscapes(at, split, found)
            scene_formats.write_coco(at / f"{split}.json", images, found)

    write_once(root / "gtav", {"recipe": "gtav", **recipe}, lambda at: scene_formats.write_gtav(at, drawn("gtav")))
    write_once(root / "sim10k", {"recipe": "sim10k", **recipe}, write_sim10k)
    real = {"recipe": "cityscapes", "version": VERSION, "scenes": eval_scenes}
    write_once(root / "cityscapes", real, write_cityscapes)
    return root


def source(mini: Path, seed: int, kind: str = "synthetic") -> Path:
    """The folder of the training scenes of a seed, made where it is missing; see `prepare`."""
    name = "scenes" if kind == "synthetic" else f"scenes_{kind}"
    return prepare(mini / (f"{name}_{seed}" if seed else name), seed, kind=kind)


def _source(kind: str, seed: int, layout: str, index: int) -> Scene:
    return synthetic_scene(seed, index, PITCH[layout]) if kind == "synthetic" else SOURCES[kind](seed, index)


def _in_parallel(draw: Callable[[int], Scene], count: int, title: str, progress: bool) -> list[Scene]:
    found = in_parallel(draw, range(count)) if count > 20 else map(draw, range(count))
    return [*(with_progress(found, title, "scene", count) if progress else found)]


def main() -> None:
    """Command line: `python -m gcisg_suite.miniature.scenes --root data/mini/scenes --seed 0`."""
    parser = argparse.ArgumentParser(description="Write the miniature scenes as GTAV, Sim10k and Cityscapes do.")
    parser.add_argument("--root", type=Path, default=Path("data/mini/scenes"), help="folder to write to")
    parser.add_argument("--seed", type=int, default=0, help="seed of the synthetic scenes")
    parser.add_argument("--train-scenes", type=int, default=400, help="number of synthetic scenes")
    parser.add_argument("--eval-scenes", type=int, default=150, help="number of real scenes in each of val and test")
    arguments = parser.parse_args()
    start = time.perf_counter()
    root = prepare(arguments.root, arguments.seed, arguments.train_scenes, arguments.eval_scenes)
    print(f"{root}: gtav, sim10k (seed {arguments.seed}), cityscapes val and test")
    print(f"{time.perf_counter() - start:.1f} s")


if __name__ == "__main__":
    main()
