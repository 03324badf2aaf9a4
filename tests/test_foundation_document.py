"""The recipes with foundation models, shrunk to a small transformer: each trains a step, a student is exported."""

import pytest
import torch
import yaml
from mmengine.config import Config
from mmengine.registry import init_default_scope

import gcisg_seg.registry  # noqa: F401

# isort: split
from mmseg.registry import MODELS

from gcisg_core.feature_tap import find_stages
from gcisg_seg.export import export
from tests.documents import blocks
from tests.segmentation.segmentors import PREPROCESSOR, SEGMENTORS, batch, sgd

timm = pytest.importorskip("timm")
LARGE, SMALL = "vit_small_patch14_dinov2", "test_vit"
COMMON = {"train_cfg": {}, "test_cfg": {"mode": "whole"}}


@pytest.fixture
def weights(tmp_path):
    torch.manual_seed(1)
    torch.save(timm.create_model(SMALL).state_dict(), tmp_path / "vit.pth")
    return tmp_path / "vit.pth"


def recipe(name, weights):
    """The recipe's text with the small transformer and its weights."""
    (text,) = (block.text for block in blocks("docs/foundation.md") if block.text.startswith(f"# my/project/{name}"))
    return text.replace(LARGE, SMALL).replace("my/dinov2_vits14.pth", str(weights)).replace("518", "96")


def segmentor(name, weights):
    settings = {}
    exec(recipe(name, weights), settings)
    model = settings["model"]
    model["data_preprocessor"] |= PREPROCESSOR
    model["regularizer"] |= {"queue_length": 8, "patches": (2, 2)}
    return model


def step(values):
    """The built model after a step of training, and the names of its losses."""
    init_default_scope("mmseg")
    model = MODELS.build(Config({"model": {**COMMON, **values}}).model)
    model.init_weights()
    model.train()
    losses = model.train_step(batch(), sgd(model))
    assert all(value.isfinite() for value in losses.values())
    return model, [*losses]


def test_a_student_in_mmsegs_own_backbone_trains_and_is_mmsegs_again(weights, tmp_path, capsys):
    values = segmentor("dinov2.py", weights)
    del values["backbone"]["_delete_"]
    values["backbone"]["out_indices"] = (1, 3, 5)
    small = {"in_channels": 64, "channels": 8, "num_classes": 5}
    values["decode_head"] |= small
    model, losses = step(values)
    assert {"loss_guidance_stage3", "loss_guidance_stage4", "loss_ci_stage3", "loss_ci_stage4"} <= {*losses}
    assert "76 of 76 tensors match" in capsys.readouterr().out
    assert find_stages(model.backbone)[4] == "tokens(timm_model.model.blocks.5)"
    torch.save({"state_dict": model.state_dict()}, tmp_path / "iter_1.pth")
    config = Config({"model": {**COMMON, **values}, "default_scope": "mmseg"})
    exported = export(config, str(tmp_path / "iter_1.pth"))
    (tmp_path / "plain.py").write_text(exported.config)
    plain = MODELS.build(Config.fromfile(tmp_path / "plain.py").model)
    plain.load_state_dict(exported.state, strict=True)
    images = torch.rand(1, 3, 50, 64)
    with torch.no_grad():
        assert torch.equal(plain.eval()(images), model.eval()(images))


def test_a_guide_in_segmentation(weights):
    model, losses = step({**SEGMENTORS["pspnet"], **segmentor("guided.py", weights)})
    assert "loss_guidance_stage4" in losses
    assert model.regularizer.reference.guide.network.embed_dim == 64


def test_a_guide_in_detection(weights, tmp_path):
    pytest.importorskip("detectron2")
    import gcisg_det  # noqa: F401  repairs Detectron2 0.5 before it is imported

    # isort: split
    from detectron2.modeling import build_model

    from gcisg_det.config import read_config
    from tests.detection.scenes import PROJECT, TINY

    settings = yaml.safe_load(recipe("guided.yaml", weights))
    settings["_BASE_"] = str(PROJECT / "Base-RCNN-FPN.yaml")
    (tmp_path / "guided.yaml").write_text(yaml.safe_dump(settings))
    model = build_model(read_config(tmp_path / "guided.yaml", [*TINY, "REGULARIZER.QUEUE_LENGTH", 8]))
    view = torch.rand(1, 3, 64, 96)
    losses, _ = model.regularizer.step([view, view], lambda: {"loss_task": model.backbone(view)["p2"].mean()})
    assert losses["loss_guidance_stage4"].isfinite()
