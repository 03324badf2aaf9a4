"""Small folders in the layouts of Sim10k and Cityscapes, and a detector small enough for tests."""

from __future__ import annotations

import argparse
import contextlib
import json
import logging
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw

PROJECT = Path(__file__).parents[2] / "projects/detection"
SIZE = (128, 96)  # width, height
IDS = {"road": 7, "car": 26, "person": 24, "cargroup": 26}


def voc_object(box, name="car", difficult=0) -> str:
    fields = "".join(
        f"<{key}>{value}</{key}>" for key, value in zip(("xmin", "ymin", "xmax", "ymax"), box, strict=True)
    )
    return f"<object><name>{name}</name><difficult>{difficult}</difficult><bndbox>{fields}</bndbox></object>"


def picture(seed: int, boxes=(), size=SIZE) -> Image.Image:
    image = Image.fromarray(np.random.default_rng(seed).integers(0, 80, (size[1], size[0], 3), dtype=np.uint8))
    for box in boxes:
        ImageDraw.Draw(image).rectangle([tuple(box[:2]), tuple(box[2:])], fill=(220, 40, 40))
    return image


def make_sim10k(root: Path, count: int = 6, objects: dict[int, str] | None = None) -> Path:
    """Writes `root/sim10k/VOC2012`; `objects` replaces the XML of the objects of single images."""
    folder = root / "sim10k" / "VOC2012"
    for part in ("JPEGImages", "Annotations", "ImageSets/Main"):
        (folder / part).mkdir(parents=True)
    for i in range(count):
        box = (10 + 5 * i, 20, 60 + 5 * i, 70)
        picture(i, [box]).save(folder / "JPEGImages" / f"{i:07d}.jpg")
        body = (objects or {}).get(i, voc_object(box))
        size = f"<size><width>{SIZE[0]}</width><height>{SIZE[1]}</height><depth>3</depth></size>"
        (folder / "Annotations" / f"{i:07d}.xml").write_text(f"<annotation>{size}{body}</annotation>")
    (folder / "ImageSets/Main/trainval10k.txt").write_text("".join(f"{i:07d}\n" for i in range(count)))
    return folder


def rectangle(x1, y1, x2, y2):
    return [[x1, y1], [x2, y1], [x2, y2], [x1, y2]]


def make_cityscapes(
    root: Path, scenes: list[list[tuple[str, list]]], split: str = "val", size=SIZE, city: str = "aachen"
) -> Path:
    """Writes `root/cityscapes` with one image a scene; a scene is (label, polygon) in drawing order."""
    folder = root / "cityscapes"
    for part in ("leftImg8bit", "gtFine"):
        (folder / part / split / city).mkdir(parents=True)
    for i, scene in enumerate(scenes):
        stem = f"{city}_{i:06d}_000019"
        picture(100 + i + 10 * len(city), size=size).save(folder / f"leftImg8bit/{split}/{city}/{stem}_leftImg8bit.png")
        content = {"imgHeight": size[1], "imgWidth": size[0]}
        content["objects"] = [{"label": label, "polygon": polygon} for label, polygon in scene]
        (folder / f"gtFine/{split}/{city}/{stem}_gtFine_polygons.json").write_text(json.dumps(content))
        ids, count = Image.new("I", size), 0
        for label, polygon in scene:
            value = IDS[label]
            if label in ("car", "person"):
                value, count = value * 1000 + count, count + 1
            ImageDraw.Draw(ids).polygon([tuple(point) for point in polygon], fill=value)
        array = np.asarray(ids).astype(np.uint16)
        Image.fromarray(array).save(folder / f"gtFine/{split}/{city}/{stem}_gtFine_instanceIds.png")
    return folder


SCENES = [
    [("road", rectangle(0, 50, 127, 95)), ("car", rectangle(10, 20, 49, 59)), ("car", rectangle(40, 30, 79, 69))],
    [("road", rectangle(0, 50, 127, 95))],  # no car
    [("cargroup", rectangle(0, 0, 19, 19)), ("cargroup", rectangle(100, 0, 119, 19)),
     ("car", rectangle(50, 50, 50, 50))],
]  # fmt: skip

TINY = [
    "MODEL.DEVICE", "cpu", "MODEL.WEIGHTS", "", "MODEL.RESNETS.DEPTH", 50, "MODEL.RESNETS.STEM_OUT_CHANNELS", 32,
    "MODEL.RESNETS.RES2_OUT_CHANNELS", 64, "MODEL.RESNETS.WIDTH_PER_GROUP", 16, "MODEL.FPN.OUT_CHANNELS", 32,
    "MODEL.ROI_BOX_HEAD.FC_DIM", 64, "MODEL.ROI_BOX_HEAD.NUM_FC", 1, "MODEL.RPN.PRE_NMS_TOPK_TRAIN", 100,
    "MODEL.RPN.POST_NMS_TOPK_TRAIN", 50, "MODEL.RPN.PRE_NMS_TOPK_TEST", 50, "MODEL.RPN.POST_NMS_TOPK_TEST", 20,
    "INPUT.MIN_SIZE_TRAIN", (64, 96), "INPUT.MIN_SIZE_TEST", 96, "INPUT.MAX_SIZE_TRAIN", 128, "SOLVER.MAX_ITER", 6,
    "SOLVER.STEPS", (4,), "SOLVER.CHECKPOINT_PERIOD", 2, "SOLVER.IMS_PER_BATCH", 2, "SEED", 3,
    "DATALOADER.NUM_WORKERS", 0,
]  # fmt: skip


RETINA = [
    "MODEL.PARENT_ARCHITECTURE", "RetinaNet", "MODEL.BACKBONE.NAME", "build_retinanet_resnet_fpn_backbone",
    "MODEL.FPN.IN_FEATURES", ["res3", "res4", "res5"], "MODEL.RESNETS.OUT_FEATURES", ["res3", "res4", "res5"],
    "MODEL.RETINANET.NUM_CLASSES", 1, "MODEL.RETINANET.NUM_CONVS", 1,
]  # fmt: skip


@contextlib.contextmanager
def framework_log(caplog):
    """Detectron2's loggers do not propagate once a trainer has set them up."""
    logger = logging.getLogger("detectron2")
    logger.addHandler(caplog.handler)
    level = logger.level
    logger.setLevel(logging.INFO)
    caplog.clear()
    try:
        yield
    finally:
        logger.removeHandler(caplog.handler)
        logger.setLevel(level)


def tiny_config(root: Path, output: Path, *overrides, config="baseline_r50_fpn"):
    from gcisg_det.config import read_config
    from gcisg_det.datasets import setup_datasets

    queue = ["REGULARIZER.QUEUE_LENGTH", 32] if config.startswith("gcisg") else []
    settings = [*TINY, *queue, "DATASETS.ROOT", str(root), "OUTPUT_DIR", str(output), *overrides]
    cfg = read_config(PROJECT / f"{config}.yaml", settings)
    setup_datasets(cfg)
    return cfg


def train(cfg, resume=False, hooks=()):
    """Trains on one thread: the order of sums, and so the last bit, depends on the number of threads."""
    import torch
    from detectron2.engine import default_setup

    from gcisg_det.engine import Trainer

    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        default_setup(cfg, argparse.Namespace())
        trainer = Trainer(cfg)
        trainer.register_hooks(hooks)
        trainer.resume_or_load(resume=resume)
        trainer.train()
    finally:
        torch.set_num_threads(threads)
