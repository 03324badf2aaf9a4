"""docs/extend.md: each of its diffs applies to this repository, and what it adds runs."""

import json
import os
import shutil
import subprocess
import sys

import pytest

from gcisg_suite.tasks import TASKS
from tests.documents import ROOT, blocks

PARTS = ("gcisg_core", "gcisg_suite", "projects", "tools")
PACKAGES = [".", *(f"projects/{name}" for name in TASKS)]
POOLING = """
import torch
from gcisg_core.losses import guidance_loss
from gcisg_core.pooling import POOLINGS
maps = torch.rand(2, 3, 4, 5, requires_grad=True)
pooled = POOLINGS["generalised_mean"](maps)
assert torch.allclose(pooled, maps.pow(3).mean(dim=(2, 3)).pow(1 / 3)), pooled
guidance_loss(maps, torch.rand(2, 3, 4, 5), "generalised_mean").backward()
assert maps.grad.abs().sum() > 0
"""
METHOD = """
import torch
from gcisg_cls.classifier import SynToRealClassifier
settings = {"method": "consistency", "lambda_consistency": 2.0}
model = SynToRealClassifier("mini_resnet", num_classes=3, regularizer=settings).eval()
views = [torch.rand(4, 3, 32, 32) for _ in range(2)]
losses = model(views, torch.tensor([0, 1, 2, 0]), mode="loss")
first, second = (model.backbone(view) for view in views)  # the pooled features of stage 4
expected = 2 * sum(((a - b) ** 2).sum() for a, b in zip(first, second)) / 4
assert torch.allclose(losses["loss_consistency"], expected, rtol=1e-4), losses
losses["loss_consistency"].backward()
assert model.backbone.conv1.weight.grad.abs().sum() > 0
"""
DATASET = """
import pathlib
import numpy as np
from PIL import Image
import gcisg_seg.registry
from mmengine.registry import init_default_scope
from mmseg.registry import DATASETS
init_default_scope("mmseg")
for part, array in {"rgb": np.random.default_rng(0).integers(0, 256, (8, 9, 3), np.uint8),
                    "class": np.full((8, 9), 26, np.uint8)}.items():
    folder = pathlib.Path("synscapes/img") / part
    folder.mkdir(parents=True)
    Image.fromarray(array).save(folder / "1.png")
pipeline = [dict(type="LoadCheckedImage"), dict(type="LoadLabelIds"), dict(type="PackSegInputs")]
dataset = DATASETS.build(dict(type="SynscapesDataset", data_root="synscapes", split="all", pipeline=pipeline))
assert len(dataset) == 1
assert (dataset[0]["data_samples"].gt_sem_seg.data == 13).all()  # a car
"""
DETECTOR = """
import gcisg_det
import torch
from detectron2.modeling import build_model
from detectron2.structures import Boxes, Instances
from detectron2.utils.events import EventStorage
from gcisg_det.config import read_config
small = "MODEL.DEVICE cpu MODEL.RESNETS.RES2_OUT_CHANNELS 16 MODEL.RESNETS.WIDTH_PER_GROUP 4 MODEL.FPN.OUT_CHANNELS 8"
small += " MODEL.RETINANET.NUM_CONVS 1 REGULARIZER.QUEUE_LENGTH 32"
config = read_config("projects/detection/gcisg_retinanet_r50.yaml", small.split())
model = build_model(config).train()
boxes = Boxes(torch.tensor([[8.0, 8, 72, 72]]))
truth = Instances((96, 128), gt_boxes=boxes, gt_classes=torch.zeros(1, dtype=torch.int64))
image = torch.randint(0, 256, (3, 96, 128), dtype=torch.uint8)
with EventStorage():
    losses = model([{"image": image, "instances": truth, "height": 96, "width": 128}] * 2)
wanted = {"loss_cls", "loss_box_reg", *(f"loss_{term}_stage{stage}" for term in ("ci", "guidance") for stage in (3, 4))}
assert losses.keys() == wanted, losses
sum(losses.values()).backward()
"""
SEGMENTOR = """
import torch
import gcisg_seg.registry
from mmengine.registry import init_default_scope
from mmengine.structures import PixelData
from mmseg.registry import MODELS
from mmseg.structures import SegDataSample
init_default_scope("mmseg")
head = dict(type="FCNHead", in_channels=64, in_index=3, channels=8, num_convs=1, num_classes=3)
model = MODELS.build(dict(
    type="SynToRealDepthEstimator", decode_head=head, train_cfg=dict(), test_cfg=dict(mode="whole"),
    backbone=dict(type="ResNet", depth=18, stem_channels=8, base_channels=8, norm_cfg=dict(type="BN")),
    regularizer=dict(method="gcisg", queue_length=32),
)).train()
assert type(model).__mro__[2].__name__ == "DepthEstimator", type(model).__mro__
samples = [SegDataSample(gt_sem_seg=PixelData(data=torch.randint(3, (1, 64, 64)))) for _ in range(2)]
terms = model.loss([torch.rand(2, 3, 64, 64) for _ in range(2)], samples)
assert {"decode.loss_ce", "loss_ci_stage3", "loss_guidance_stage4"} <= terms.keys(), terms
sum(value for name, value in terms.items() if "loss" in name).backward()
assert model.backbone.conv1.weight.grad.abs().sum() > 0
"""
# In one process, those of MMSegmentation last: they change what names of mmengine's registry mean.
CHECKS = {"pooling": POOLING, "method": METHOD, "detector": DETECTOR, "data set": DATASET, "segmentor": SEGMENTOR}
RUN_ALL = """
import json, sys, traceback
for name, code in json.load(sys.stdin).items():
    try:
        exec(code, {})
        print(json.dumps([name, ""]))
    except Exception:
        print(json.dumps([name, traceback.format_exc()]))
"""


@pytest.fixture(scope="module")
def extended(tmp_path_factory):
    """A copy of the repository with all of the document's diffs."""
    copy = tmp_path_factory.mktemp("extended")
    for name in PARTS:
        shutil.copytree(ROOT / name, copy / name, ignore=shutil.ignore_patterns("__pycache__", "*.jsonl"))
    for number, block in enumerate(block for block in blocks("docs/extend.md") if block.language == "diff"):
        (copy / f"{number}.diff").write_text(block.text)
        process = subprocess.run(
            ["git", "apply", "--verbose", f"{number}.diff"],
            cwd=copy, capture_output=True, text=True, check=False,
            env={**os.environ, "GIT_CEILING_DIRECTORIES": str(copy.parent)},
        )  # fmt: skip
        assert process.returncode == 0, process.stderr
    return copy


@pytest.fixture(scope="module")
def outcomes(extended):
    """What went wrong with each check."""
    process = subprocess.run(
        [sys.executable, "-c", RUN_ALL],
        input=json.dumps(CHECKS), cwd=extended, capture_output=True, text=True, check=True,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(str(extended / name) for name in PACKAGES)},
    )  # fmt: skip
    return dict(json.loads(line) for line in process.stdout.splitlines() if line.startswith('["'))


@pytest.mark.parametrize("what", CHECKS)
def test_what_a_diff_adds_works(outcomes, what):
    assert outcomes[what] == ""


@pytest.mark.parametrize("what", ["pooling", "method"])
def test_without_its_diff_the_check_fails(what):
    with pytest.raises((KeyError, ValueError), match=r"generalised_mean|consistency"):
        exec(CHECKS[what], {})
