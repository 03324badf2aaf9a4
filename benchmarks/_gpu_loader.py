"""Loaders of the recipes over files that are drawn here, in the layouts and about the sizes of the real ones."""

from __future__ import annotations

import os
import tempfile
import time
from collections.abc import Iterable
from functools import cache
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
from _gpu_run import Run
from _tasks import PAPERS, PROJECTS
from PIL import Image

# Pixels: about VisDA-17's renderings, and GTAV's and Sim10k's.
SIZES = {"classification": (640, 360), "segmentation": (1914, 1052), "detection": (1914, 1052)}
DRAWN = 4  # distinct pictures of a data set; the other files hold the same bytes, as drawing takes longer than the rest
BOX = "<xmin>{0}</xmin><ymin>{0}</ymin><xmax>{1}</xmax><ymax>{1}</ymax>"
CAR = f"<object><name>car</name><bndbox>{BOX}</bndbox></object>"


@cache
def picture(number: int, size: tuple[int, int], form: str) -> bytes:
    """An image file as hard to decode as a rendering: smooth shapes and a little noise."""
    rng = np.random.default_rng(number)
    coarse = Image.fromarray(rng.integers(0, 256, (size[1] // 24, size[0] // 24, 3), dtype=np.uint8)).resize(size)
    noise = rng.integers(-4, 5, (size[1], size[0], 3))
    return encoded((np.asarray(coarse) + noise).clip(0, 255).astype(np.uint8), form)


@cache
def label_map(number: int, size: tuple[int, int]) -> bytes:
    """A PNG file of label IDs in patches of 40 pixels."""
    small = np.random.default_rng(number).integers(0, 34, (size[1] // 40, size[0] // 40), dtype=np.uint8)
    return encoded(np.asarray(Image.fromarray(small).resize(size, Image.Resampling.NEAREST)), "png")


def encoded(pixels: np.ndarray, form: str) -> bytes:
    """Pixels as the bytes of a file, `form` is "png" or "jpeg"."""
    file = BytesIO()
    Image.fromarray(pixels).save(file, form)
    return file.getvalue()


def write_classification(root: Path, count: int, size: tuple[int, int]) -> None:
    from gcisg_cls.datasets import VISDA17_CLASSES

    lines = []
    for number in range(count):
        label = number % len(VISDA17_CLASSES)
        name = f"{VISDA17_CLASSES[label]}/{number}.png"
        path = root / "visda17" / "train" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(picture(number % DRAWN, size, "png"))
        lines.append(f"{name} {label}\n")
    (root / "visda17" / "train" / "image_list.txt").write_text("".join(lines))


def write_segmentation(root: Path, count: int, size: tuple[int, int]) -> None:
    for folder in ("images", "labels"):
        (root / "gta5" / folder).mkdir(parents=True)
    for number in range(count):
        name = f"{number + 1:05d}.png"
        (root / "gta5" / "images" / name).write_bytes(picture(number % DRAWN, size, "png"))
        (root / "gta5" / "labels" / name).write_bytes(label_map(number % DRAWN, size))


def write_detection(root: Path, count: int, size: tuple[int, int]) -> None:
    folder = root / "sim10k" / "VOC2012"
    for part in ("JPEGImages", "Annotations", "ImageSets/Main"):
        (folder / part).mkdir(parents=True)
    stated = "<size><width>{}</width><height>{}</height><depth>3</depth></size>".format(*size)
    for number in range(count):
        (folder / "JPEGImages" / f"{number:07d}.jpg").write_bytes(picture(number % DRAWN, size, "jpeg"))
        body = "".join(CAR.format(start, start + size[1] // 5) for start in (size[1] // 20, size[1] // 3, size[1] // 2))
        (folder / "Annotations" / f"{number:07d}.xml").write_text(f"<annotation>{stated}{body}</annotation>")
    (folder / "ImageSets/Main/trainval10k.txt").write_text("".join(f"{number:07d}\n" for number in range(count)))


WRITERS = {
    "classification": write_classification,
    "segmentation": write_segmentation,
    "detection": write_detection,
}


def mmengine_loader(task: str, batch: int, workers: int | None) -> tuple[Any, int]:
    """The loader of GCISG's recipe, and its number of workers, by default the recipe's."""
    import importlib

    from mmengine.registry import init_default_scope
    from mmengine.runner import Runner

    from gcisg_core.integrations.mmengine import load_config

    importlib.import_module({"classification": "gcisg_cls", "segmentation": "gcisg_seg.registry"}[task])
    init_default_scope({"classification": "mmengine", "segmentation": "mmseg"}[task])
    given = load_config(str(PROJECTS / task / PAPERS[task].config.format("gcisg")), []).train_dataloader
    given.batch_size, given.num_workers = batch, given.num_workers if workers is None else workers
    given.persistent_workers = given.num_workers > 0
    return Runner.build_dataloader(given, seed=0), given.num_workers


def detectron2_loader(task: str, batch: int, workers: int | None) -> tuple[Any, int]:
    """Likewise."""
    import gcisg_det  # noqa: F401 - repairs Detectron2 0.5 before it is imported

    # isort: split
    from gcisg_core.integrations.detectron2.resume import build_train_loader
    from gcisg_det.config import read_config
    from gcisg_det.datasets import setup_datasets
    from gcisg_det.mapper import build_mapper

    more = [] if workers is None else ["DATALOADER.NUM_WORKERS", workers]
    own = ["DATASETS.ROOT", os.environ["GCISG_DATA"], "SOLVER.IMS_PER_BATCH", batch, "MODEL.DEVICE", "cpu", "SEED", 0]
    cfg = read_config(PROJECTS / task / PAPERS[task].config.format("gcisg"), [*own, *more])
    setup_datasets(cfg)
    return build_train_loader(cfg, build_mapper(cfg, True)), cfg.DATALOADER.NUM_WORKERS


def rate(loader: Iterable[Any], batch: int, run: Run) -> float:
    """Images a second, after a batch for each worker to begin with."""
    batches = iter(loader)
    for _ in range(1 if run.settings.tiny else 4):
        next(batches)
    start, count = time.perf_counter(), 0
    while count < 2 or (not run.settings.tiny and time.perf_counter() - start < 5 and run.left() > 3):
        next(batches)
        count += 1
    return count * batch / (time.perf_counter() - start)


def measure(task: str, run: Run) -> None:
    """A row for the recipe's number of workers, and one for as many as there are cores."""
    tiny = run.settings.tiny
    batch, (width, height) = 4 if tiny else PAPERS[task].size.images, SIZES[task]
    size = (width // 4, height // 4) if tiny else (width, height)
    build = detectron2_loader if task == "detection" else mmengine_loader
    with tempfile.TemporaryDirectory() as folder:
        os.environ["GCISG_DATA"] = folder
        WRITERS[task](Path(folder), 12 if tiny else 96 if task == "classification" else 24, size)
        for workers in (0,) if tiny else (None, len(os.sched_getaffinity(0))):
            with run.guarded("loader", task=task, files="{} x {}".format(*size), batch=batch) as row:
                run.need(0 if tiny else 10)
                loader, row["workers"] = build(task, batch, workers)
                row["images / s"] = rate(loader, batch, run)
