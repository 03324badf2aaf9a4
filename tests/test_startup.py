"""What is not loaded before the first step of a training run: it would be waited for at every start."""

from __future__ import annotations

import importlib
import json
import os
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torch.optim.optimizer import register_optimizer_step_post_hook

from gcisg_suite.cli import main
from gcisg_suite.miniature.network import MiniResNet
from tests.classification.conftest import TINY, write_images
from tests.detection.scenes import TINY as TINY_DETECTION
from tests.detection.scenes import make_sim10k
from tests.processes import status_of
from tests.segmentation.test_seg_resume import CONFIG, PROJECT

ROOT = Path(__file__).parents[1]
HEAVY = {"sklearn", "scipy", "matplotlib", "pytorch_grad_cam", "pandas", "timm", "h5py", "onnx", "jinja2", "shapely",
         "mmseg", "detectron2", "mmcv"}  # fmt: skip
# Task -> what its framework loads by itself; a runner of mmengine also loads matplotlib for its visualizer, and mmcv,
# which it looks for.
FRAMEWORKS = {
    "classification": ("mmengine.runner", "matplotlib", "mmcv"),
    "segmentation": ("mmengine.runner", "matplotlib", "gcisg_seg", "mmseg.apis"),
    "detection": ("gcisg_core.integrations.detectron2.compat", "detectron2.engine", "detectron2.modeling"),
}


def loaded() -> set[str]:
    return HEAVY & {name.partition(".")[0] for name in sys.modules}


def _train(modules: tuple[str, ...], words: list[str], data: str, file: str) -> None:
    """Writes what the framework loads, and what a run has loaded at its first step."""
    for module in modules:
        importlib.import_module(module)
    before = loaded()

    def stop(*_: object) -> None:
        Path(file).write_text(json.dumps([sorted(before), sorted(loaded())]))
        os._exit(0)

    register_optimizer_step_post_hook(stop)
    os.environ["GCISG_DATA"] = data  # the process has the environment of its server
    main(words)


def classification(folder):
    for seed, part in enumerate(["source", "dev", "test"]):
        write_images(folder / "mini/classification" / part, seed=seed)
    torch.save(MiniResNet(num_classes=3).state_dict(), folder / "mini/reference.pth")
    return str(ROOT / "projects/classification/gcisg_mini.py"), TINY


def detection(folder):
    make_sim10k(folder)
    # Without the evaluation's data, which is read before training: SciPy finds Cityscapes' boxes.
    small = [*TINY_DETECTION, "DATASETS.ROOT", folder, "REGULARIZER.QUEUE_LENGTH", 32, "DATASETS.TEST", ()]
    return str(ROOT / "projects/detection/gcisg_r50_fpn.yaml"), small


def segmentation(folder):
    rng = np.random.default_rng(0)
    for name, high, shape in (("images", 256, (64, 96, 3)), ("labels", 34, (64, 96))):
        (folder / "gta5" / name).mkdir(parents=True)
        for number in range(2):
            Image.fromarray(rng.integers(0, high, shape, np.uint8)).save(folder / "gta5" / name / f"{number}.png")
    config = folder / "tiny.py"
    config.write_text(CONFIG.format(base=PROJECT / "gcisg_r50_deeplabv3_gtav2cityscapes.py"))
    return str(config), []


@pytest.mark.parametrize("prepare", [classification, segmentation, detection])
def test_a_training_run_loads_its_framework_and_nothing_more(prepare, tmp_path):
    config, small = prepare(tmp_path)
    words = ["train", "--config", config, "--output", str(tmp_path / "run"), *map(str, small)]
    file = tmp_path / "loaded.json"
    status_of(_train, FRAMEWORKS[prepare.__name__], words, str(tmp_path), str(file))
    framework, run = json.loads(file.read_text())
    assert run == framework
    assert not {"sklearn", "pytorch_grad_cam"} & {*run}
