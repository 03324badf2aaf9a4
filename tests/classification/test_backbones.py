"""Any classifier of torchvision or timm as the backbone."""

import importlib.util
import json
from pathlib import Path

import numpy as np
import pytest
import torch

from gcisg_cls.backbones import build_backbone
from gcisg_cls.classifier import SynToRealClassifier
from gcisg_cls.export import export
from gcisg_cls.predict import from_library
from gcisg_cls.views import normalize
from gcisg_core.export import write_export
from gcisg_core.feature_tap import find_stages, make_tap
from gcisg_core.integrations.mmengine import load_config
from gcisg_core.regularizers import build_regularizer
from gcisg_core.safe_load import read_checkpoint
from gcisg_suite.cli import main

from .conftest import TINY

timm = pytest.importorskip("timm")
CONFIG = Path(__file__).parents[2] / "projects/classification/gcisg_mini.py"
NAMES = [
    "torchvision:mobilenet_v3_small", "timm:test_mambaout", "timm:test_vit", "timm:test_convnext", "timm:test_resnet",
    "timm:dla46x_c",  # its classifier is a convolution
    "timm:edgenext_xx_small", "timm:pvt_v2_b0",
]  # fmt: skip


@pytest.mark.parametrize("name", NAMES)
def test_every_stage_is_trained_and_the_export_is_the_librarys_own_network(name, tmp_path):
    torch.manual_seed(0)
    regularizer = {"method": "gcisg", "queue_length": 8, "lambda_guidance": 1.0}
    model = SynToRealClassifier(name, 3, 4, regularizer=regularizer)
    size = model.backbone.plain.size or 64
    views = [torch.randn(2, 3, size, size) for _ in range(2)]
    losses = model.train()(views, torch.tensor([0, 1]), mode="loss")
    assert all(losses[f"loss_{kind}_stage{stage}"].isfinite() for kind in ("guidance", "ci") for stage in (3, 4))
    sum(value for key, value in losses.items() if "loss" in key).backward()
    assert next(model.backbone.parameters()).grad.abs().sum() > 0
    torch.save({"state_dict": model.state_dict()}, tmp_path / "iter_1.pth")

    overrides = [f"model.backbone={name}", "model.hidden=4", "model.num_classes=3"]
    exported = write_export(export(load_config(str(CONFIG), overrides), str(tmp_path / "iter_1.pth")), tmp_path, "net")
    spec = importlib.util.spec_from_file_location("network", exported.with_suffix(".py"))
    written = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(written)
    pixels = torch.rand(2, 3, size, size)
    mean, std = (torch.tensor(value)[:, None, None] for value in (written.MEAN, written.STD))
    with torch.no_grad():
        expected = model.eval()(normalize(pixels))
        found = written.load(exported)((pixels - mean) / std)
    torch.testing.assert_close(found, expected, rtol=1e-3, atol=1e-4)
    again = from_library(name, str(exported), "cpu", json.loads(exported.with_suffix(".json").read_text()))
    torch.testing.assert_close(again.network(normalize(pixels)), expected, rtol=1e-4, atol=1e-5)


def test_a_linear_head_loads_in_timms_own_builder(tmp_path):
    model = SynToRealClassifier("timm:test_vit", 3, 0)
    torch.save(model.state_dict(), tmp_path / "iter_1.pth")
    overrides = ["model.backbone=timm:test_vit", "model.hidden=0", "model.num_classes=3"]
    state = export(load_config(str(CONFIG), overrides), str(tmp_path / "iter_1.pth")).state
    timm.create_model("test_vit", num_classes=3).load_state_dict(state, strict=True)


def test_a_class_of_your_own_is_not_exported():
    config = load_config(str(CONFIG), ["model.type=Mine", "model.backbone=timm:test_vit"])
    with pytest.raises(ValueError, match="model.type must be SynToRealClassifier.*got 'Mine'"):
        export(config, "not read")


@pytest.mark.parametrize(
    ("name", "options", "message"),
    [
        ("timm:test_vitt", {}, "unknown model of timm 'test_vitt'. Did you mean 'test_vit"),
        ("tim:test_vit", {}, r"unknown library of a backbone \(library:name\) 'tim'. Did you mean 'timm'"),
        ("torchvision:squeezenet1_1", {}, "squeezenet1_1 ends in a convolution, not in a linear classifier"),
        ("torchvision:resnet18", {"depth": 3}, "torchvision:resnet18 does not take {'depth': 3}"),
        ("timm:test_resnet", {"depth": 3}, "timm's test_resnet does not take {'depth': 3}"),
        ("timm:deit_tiny_distilled_patch16_224", {}, "distilled_patch16_224 has several classifiers"),
    ],
)
def test_a_backbone_that_cannot_be_is_named(name, options, message):
    with pytest.raises(ValueError, match=message):
        build_backbone(name, options)


@pytest.mark.remedy(
    "set `size` in the pipelines of train, val and test, or the network's own option in model.backbone_options"
)
def test_images_of_a_size_that_it_does_not_take_are_named():
    with pytest.raises(ValueError, match=r"timm:test_vit takes .* multiples of 16 pixels, got 40 x 48: set `size`"):
        build_backbone("timm:test_vit")[0](torch.zeros(1, 3, 40, 48))
    network = build_backbone("torchvision:vit_b_32", {"image_size": 64})[0]
    with pytest.raises(ValueError, match=r"torchvision:vit_b_32 takes images of 64 x 64 pixels, got 32 x 32"):
        network(torch.zeros(1, 3, 32, 32))
    assert network(torch.zeros(1, 3, 64, 64)).shape[0] == 1
    assert build_backbone("timm:test_vit")[0](torch.zeros(1, 3, 32, 48)).shape[0] == 1


@pytest.mark.remedy("there are {}. Choose other stages, or another method")
def test_a_method_for_maps_of_convolutions():
    with pytest.raises(ValueError, match="isw does not apply to VisionTransformer.* Choose other stages, or another"):
        SynToRealClassifier("timm:test_vit", 3, regularizer={"method": "isw"})
    places = {"stages": (1,), "stage_locations": {1: "patch_embed.proj"}}
    assert SynToRealClassifier("timm:test_vit", 3, regularizer={"method": "isw", **places}).regularizer
    assert SynToRealClassifier("timm:test_vit", 3, regularizer={"method": "csg"}).regularizer


@pytest.mark.parametrize(
    ("name", "values", "changes", "message"),
    [
        ("timm:test_vit", {"method": "isw"}, {}, "isw does not apply to VisionTransformer: it whitens the maps"),
        ("timm:test_vit", {"method": "asg"}, {}, "asg does not apply to VisionTransformer: its classifier reads"),
        ("timm:test_efficientnet", {"method": "asg"}, {}, "asg does not apply to EfficientNet: its classifier reads"),
        ("timm:test_vit", {}, {"ibn": "a"}, "ibn does not apply to VisionTransformer of timm: IBN-Net is defined for"),
        ("timm:test_resnet", {}, {"ibn": "b"}, "ibn does not apply to ResNet of timm: IBN-Net is defined for"),
        ("timm:test_vit", {}, {"mixstyle": {}}, "VisionTransformer has no stage 1; it has"),
    ],
)
def test_what_does_not_apply_says_so_when_the_model_is_built(name, values, changes, message, tmp_path):
    if values.get("method") == "asg":
        values = {**values, "classifier": str(tmp_path / "any.pth")}
    with pytest.raises(ValueError, match=message) as error:
        SynToRealClassifier(name, 3, regularizer=values, backbone_plugins=changes)
    assert "\n" not in str(error.value)


@pytest.mark.remedy("Use a ResNet, or the method feature_l2 or gcisg")
def test_methods_that_take_the_place_of_asg(tmp_path):
    asg = {"method": "asg", "classifier": str(tmp_path / "any.pth")}
    with pytest.raises(ValueError, match="Use a ResNet, or the method feature_l2 or gcisg"):
        SynToRealClassifier("timm:test_vit", 3, regularizer=asg)
    for values in ({"method": "feature_l2"}, {"method": "gcisg", "queue_length": 8}):
        SynToRealClassifier("timm:test_vit", 3, regularizer=values)
    torch.save(timm.create_model("test_resnet").state_dict(), tmp_path / "any.pth")
    SynToRealClassifier("timm:test_resnet", 3, regularizer=asg)


def test_asg_reads_the_classifier_of_a_resnet_of_timm(tmp_path):
    network = timm.create_model("test_resnet")
    torch.save(network.state_dict(), tmp_path / "r.pth")
    asg = build_regularizer(
        build_backbone("timm:test_resnet")[0], {"method": "asg", "classifier": str(tmp_path / "r.pth")}
    )
    assert torch.equal(asg.weight, network.fc.weight)


@pytest.mark.parametrize("name", ["vit_small_patch14_reg4_dinov2", "vit_small_patch16_dinov3"])
def test_the_patches_of_dinos_transformers_are_maps_at_three_depths(name):
    torch.manual_seed(0)
    backbone, channels = build_backbone(f"timm:{name}")
    patch, prefix = backbone.plain.multiple, backbone.num_prefix_tokens
    assert (channels, [*find_stages(backbone)], prefix) == (384, [2, 3, 4], 5)
    images = torch.rand(1, 3, 2 * patch, 3 * patch)
    maps = make_tap(backbone.eval(), [3, 4]).run(backbone, images)
    with torch.no_grad():
        tokens = backbone.forward_features(images)
    torch.testing.assert_close(maps[4].flatten(2).transpose(1, 2), tokens[:, prefix:])
    assert maps[3].shape == (1, 384, 2, 3)
    torch.testing.assert_close(backbone(images), tokens[:, 0])  # the class token


def test_a_transformer_trains_resumes_predicts_and_is_analyzed(mini, monkeypatch):
    """By the commands, with weights from a file; images of 32 pixels are 2 x 2 patches."""
    torch.manual_seed(0)
    torch.save(timm.create_model("test_vit", num_classes=3).state_dict(), mini / "vit.pth")
    settings = [*TINY, "model.backbone=timm:test_vit", f"model.weights={mini / 'vit.pth'}", "train_cfg.val_interval=3"]
    settings += ["model.regularizer.queue_length=8", "default_hooks.checkpoint.interval=3"]
    main(["train", "--config", str(CONFIG), "--output", str(mini / "run"), *settings])
    whole = read_checkpoint(mini / "run/iter_6.pth")["state_dict"]
    (mini / "run/iter_6.pth").unlink()
    (mini / "run/last_checkpoint").write_text(str(mini / "run/iter_3.pth"))
    main(["train", "--config", str(CONFIG), "--output", str(mini / "run"), "--resume", *settings])
    resumed = read_checkpoint(mini / "run/iter_6.pth")["state_dict"]
    assert all(torch.equal(value, resumed[key]) for key, value in whole.items())

    given = ["--config", str(CONFIG), "--checkpoint", str(mini / "run/iter_6.pth"), "--device", "cpu"]
    photos = str(mini / "data/mini/classification/test/bird")
    main(["predict", *given, photos, "--output", str(mini / "predicted"), "--overrides", *settings])
    assert len(json.loads((mini / "predicted/predictions.json").read_text())) == 4
    imagenet = ["--imagenet", str(mini / "data/mini/classification/reference/val")]
    main(["analyze", *given, *imagenet, "--output", str(mini / "page"), "--", *settings])
    measures = json.loads((mini / "page/analysis.json").read_text())["checkpoints"][0]["metrics"]
    assert 0 <= measures["acc_in"] <= 100
    assert 0 < measures["cka"] <= 1
    assert np.isfinite(measures["cka_stage2"])
    assert (mini / "page/analysis.html").is_file()
