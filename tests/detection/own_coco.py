"""Folders with COCO files of your own, and the config that trains on them."""

import json

import pytest

pytest.importorskip("detectron2")

import gcisg_det  # noqa: F401  repairs Detectron2 0.5 before it is imported

# isort: split

from gcisg_det.config import read_config
from gcisg_det.datasets import setup_datasets
from tests.detection.scenes import PROJECT, TINY, picture

SIZE = (96, 64)
NAMES = ["cup", "box"]


def write(folder, content, name):
    (folder / name).mkdir(exist_ok=True)
    for image in content["images"]:
        if image.get("file_name"):
            picture(len(image["file_name"]), size=SIZE).save(folder / name / image["file_name"].replace("\\", "/"))
    (folder / name / "own.json").write_text(json.dumps(content))


def config(folder, *overrides, sets=("synthetic", "real")):
    files = [[name, str(folder / name / "own.json"), str(folder / name)] for name in sets]
    settings = [*TINY, "MODEL.ROI_HEADS.NUM_CLASSES", 2, "DATASETS.COCO", files, "DATASETS.TRAIN", ("synthetic",)]
    settings += [
        "DATASETS.TEST",
        ("real",),
        "OUTPUT_DIR",
        str(folder / "run"),
        "SOLVER.MAX_ITER",
        2,
        "SOLVER.STEPS",
        (),
    ]
    cfg = read_config(PROJECT / "baseline_r50_fpn.yaml", [*settings, *overrides])
    setup_datasets(cfg)
    return cfg


def strict(file):
    """JSON that holds no NaN."""

    def refuse(constant):
        raise AssertionError(f"{file} holds {constant}")

    return json.loads(file.read_text(), parse_constant=refuse)
