"""A yaml config with code of your own: architecture, backbone, heads, keys, data and trainer, by the command alone."""

import json

import numpy as np
import pytest

pytest.importorskip("detectron2")
import torch

import gcisg_det  # noqa: F401  repairs Detectron2 0.5 before it is imported

# isort: split
from detectron2.config import get_cfg
from detectron2.engine import DefaultPredictor

from gcisg_core.problems import DataError
from gcisg_det.config import head_key, read_config
from gcisg_det.evaluators import check_numbers
from gcisg_det.predict import Predictor
from gcisg_det.replay import build_model as build_recorded
from gcisg_suite.cli import main
from tests.coco.files import make
from tests.detection.own_coco import write

MODULE = """
import torch
from pathlib import Path
from detectron2.config import CfgNode
from detectron2.data import DatasetMapper
from detectron2.data import transforms as T
from detectron2.data.datasets import register_coco_instances
from detectron2.layers import ShapeSpec
from detectron2.modeling import BACKBONE_REGISTRY, META_ARCH_REGISTRY, ROI_HEADS_REGISTRY, Backbone
from detectron2.modeling import GeneralizedRCNN, StandardROIHeads

from gcisg_core.integrations.detectron2.resume import build_train_loader
from gcisg_det.engine import Trainer

HERE = Path(__file__).parent
for name in ("synthetic", "real"):
    register_coco_instances(f"own_{name}", {}, str(HERE / name / "own.json"), str(HERE / name))


def add_own_config(cfg):
    cfg.MODEL.OWN = CfgNode({"WIDTH": 4, "NUM_CLASSES": 3})


@META_ARCH_REGISTRY.register()
class OwnRCNN(GeneralizedRCNN):
    pass


@META_ARCH_REGISTRY.register()
class OwnStage(torch.nn.Module):
    pass


@ROI_HEADS_REGISTRY.register()
class OwnHeads(StandardROIHeads):
    pass


@BACKBONE_REGISTRY.register()
class OwnBackbone(Backbone):
    def __init__(self, cfg, input_shape):
        super().__init__()
        widths = [input_shape.channels] + [cfg.MODEL.OWN.WIDTH * 2**i for i in range(5)]
        pairs = zip(widths, widths[1:])
        self.parts = torch.nn.ModuleList([torch.nn.Conv2d(a, b, 3, 2, 1) for a, b in pairs])
        self.widths = widths

    def forward(self, x):
        found = {}
        for number, part in enumerate(self.parts, start=1):
            x = part(x).relu()
            found[f"c{number}"] = x
        return {name: found[name] for name in self.output_shape()}

    def output_shape(self):
        return {f"c{i}": ShapeSpec(channels=self.widths[i], stride=2**i) for i in (4, 5)}


class OwnTrainer(Trainer):
    @classmethod
    def build_train_loader(cls, cfg):
        steps = [T.ResizeScale(0.5, 2.0, 64, 64), T.FixedSizeCrop((64, 64)), T.RandomFlip()]
        return build_train_loader(cfg, DatasetMapper(cfg, True, augmentations=steps))
"""
CONFIG = """
CUSTOM_IMPORTS: ["strangers", "strangers:add_own_config"]
CUSTOM_TRAINER: "strangers:OwnTrainer"
MODEL:
  META_ARCHITECTURE: "SynToRealDetector"
  PARENT_ARCHITECTURE: "OwnRCNN"
  DEVICE: "cpu"
  WEIGHTS: ""
  OWN: {WIDTH: 8}
  BACKBONE: {NAME: "OwnBackbone"}
  ANCHOR_GENERATOR: {SIZES: [[16, 32]]}
  RPN: {IN_FEATURES: ["c4"], PRE_NMS_TOPK_TEST: 50, POST_NMS_TOPK_TEST: 20}
  ROI_HEADS: {NAME: "OwnHeads", IN_FEATURES: ["c4"], NUM_CLASSES: 2, SCORE_THRESH_TEST: 0.0}
  ROI_BOX_HEAD: {NAME: "FastRCNNConvFCHead", NUM_FC: 1, FC_DIM: 16, POOLER_RESOLUTION: 4, CLS_AGNOSTIC_BBOX_REG: true}
DATASETS: {TRAIN: ["own_synthetic"], TEST: ["own_real"]}
DATALOADER:
  {NUM_WORKERS: 0, SAMPLER_TRAIN: "RepeatFactorTrainingSampler", REPEAT_THRESHOLD: 0.9, FILTER_EMPTY_ANNOTATIONS: false}
INPUT: {MIN_SIZE_TEST: 64, COLOR_JITTER: [0.4, 0.4, 0.4, 0.1]}
SOLVER: {MAX_ITER: 2, STEPS: [], IMS_PER_BATCH: 2, BASE_LR: 0.001}
SEED: 3
REGULARIZER: {METHOD: "gcisg", QUEUE_LENGTH: 8}
"""


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A module, its two data sets and a config that names it."""
    root = tmp_path_factory.mktemp("own code")
    for name in ("synthetic", "real"):
        write(root, make(), name)
    (root / "strangers.py").write_text(MODULE)
    (root / "own.yaml").write_text(CONFIG)
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(root)
        yield root


@pytest.mark.remedy("Export pth, and deploy it by Detectron2's own export (detectron2.export")
@pytest.mark.remedy("Add --trust if the run is your own, or name the config that you trained with: --config FILE")
def test_trains_evaluates_and_exports_what_the_plain_framework_takes(folder, tmp_path):
    config = ["--config", str(folder / "own.yaml")]
    main(["train", *config, "--output", str(tmp_path / "run")])
    lines = [json.loads(line) for line in (tmp_path / "run/metrics.json").open()]
    logged = {key for line in lines for key in line}
    assert {"loss_ci_stage3", "loss_guidance_stage4", "own_real/bbox/AP"} <= logged
    checkpoint = str(tmp_path / "run/model_final.pth")
    export = ["export", *config, "--checkpoint", checkpoint, "--output", str(tmp_path / "release")]
    with pytest.raises(SystemExit, match="--format onnx and pt2: .*Export pth, and deploy it by Detectron2's own"):
        main([*export, "--format", "onnx"])
    main([*export, "--format", "pth"])
    (file,) = (tmp_path / "release").glob("*.pth")
    text = file.with_suffix(".yaml").read_text()
    assert text.startswith("# Before you load this config: import strangers, strangers:add_own_config; call")
    assert json.loads(file.with_suffix(".json").read_text())["classes"] == ["cup", "box"]
    import strangers

    plain = get_cfg()
    strangers.add_own_config(plain)
    plain.merge_from_file(str(file.with_suffix(".yaml")))
    assert (plain.MODEL.META_ARCHITECTURE, plain.MODEL.OWN.WIDTH) == ("OwnRCNN", 8)
    plain.MODEL.WEIGHTS = str(file)
    image = np.random.default_rng(0).integers(0, 256, (64, 96, 3), np.uint8)
    theirs = DefaultPredictor(plain)(image[..., ::-1])["instances"]
    (ours,) = Predictor(read_config(folder / "own.yaml"), checkpoint, "cpu", 0.0).predict([image])
    assert len(ours) > 0
    assert torch.equal(ours.pred_boxes.tensor, theirs.pred_boxes.tensor)
    with pytest.raises(SystemExit, match=r"config.yaml: imports code \(strangers.*Add --trust .* --config FILE"):
        main(["select", str(tmp_path / "run")])
    for more in (["--trust", "--by", "target"], [*config, "--by", "target"]):
        main(["select", str(tmp_path / "run"), *more])


def test_the_number_of_classes_of_ones_own_architecture_is_where_its_keys_are(folder):
    cfg = read_config(folder / "own.yaml", ["MODEL.PARENT_ARCHITECTURE", "OwnStage"])
    assert head_key(cfg) == "OWN"
    cfg.MODEL.OTHER = cfg.MODEL.OWN.clone()
    assert head_key(cfg) is None
    check_numbers(cfg, "own_real")
    cfg.MODEL.PARENT_ARCHITECTURE = "OwnRCNN"
    assert head_key(cfg) == "ROI_HEADS"


@pytest.mark.remedy("Add --trust if the record is your own")
def test_a_record_imports_code_of_ones_own_when_trusted_alone(folder):
    record = {"config": read_config(folder / "own.yaml").dump()}
    with pytest.raises(DataError, match="the record's config: imports strangers.* Add --trust if the record is"):
        build_recorded(record, folder)
    assert type(build_recorded(record, folder, trust=True)).__name__ == "SynToRealOwnRCNN"


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        (["CUSTOM_IMPORTS", "['nowhere']"], r"'nowhere' cannot be imported \(ModuleNotFoundError.*PYTHONPATH=."),
        (["CUSTOM_IMPORTS", "['strangers:OwnRCNN']"], "'strangers:OwnRCNN', expected a list of .module. and"),
        (["CUSTOM_IMPORTS", "strangers"], "CUSTOM_IMPORTS is 'strangers', expected a list"),
        (["CUSTOM_IMPORTS", "['strangers']"], "unknown config key MODEL.OWN"),
        (["CUSTOM_TRAINER", "strangers:OwnRCNN"], "expected .module:Class. of a class derived from gcisg_det.engine"),
    ],
)  # fmt: skip
def test_code_that_cannot_be_used_is_named(overrides, message, folder, tmp_path):
    with pytest.raises(SystemExit, match=message):
        main(["train", "--config", str(folder / "own.yaml"), "--output", str(tmp_path / "run"), "--", *overrides])
