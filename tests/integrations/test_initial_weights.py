"""One ResNet's weights under everybody's names, into everybody's ResNet."""

import pickle
import re

import pytest
import timm
import torch
import torchvision
from mmengine.registry import init_default_scope
from mmseg.models.backbones import ResNet, ResNetV1c, ResNetV1d
from mmseg.registry import MODELS
from timm.models.resnet import Bottleneck as TimmBottleneck
from torchvision.models.resnet import Bottleneck

import gcisg_det  # noqa: F401  repairs Detectron2 0.5 before it is imported

# isort: split
from detectron2.checkpoint.c2_model_loading import convert_basic_c2_names
from detectron2.modeling.backbone.resnet import BasicStem, BottleneckBlock
from detectron2.modeling.backbone.resnet import ResNet as Detectron2ResNet

from gcisg_cls.backbones import build_backbone, load_pretrained
from gcisg_core.backbone_plugins import apply_backbone_plugins
from gcisg_core.initial_weights import canonical_names, load_initial_weights, match_names
from gcisg_core.integrations import mmengine  # noqa: F401 - registers `Pretrained`
from gcisg_core.integrations.detectron2.checkpoints import SafeCheckpointer
from gcisg_core.integrations.detectron2.weights import torchvision_to_detectron2
from gcisg_core.problems import DataError
from gcisg_core.safe_load import read_state_dict, unwrap_state_dict
from tests.detection.scenes import tiny_config


def randomised(network):
    """Every tensor different from that of a new network, buffers too."""
    torch.manual_seed(3)
    for value in network.state_dict().values():
        if value.is_floating_point():
            value.uniform_(0.5, 1.5)
    return network


class SmallResNet(ResNet):
    """mmseg's, with a block a stage."""

    arch_settings = {50: (ResNet.arch_settings[50][0], (1, 1, 1, 1))}  # noqa: RUF012 - as in mmseg


class SmallResNetV1c(ResNetV1c):
    """mmseg's, with a block a stage."""

    arch_settings = SmallResNet.arch_settings


def small_torchvision():
    return torchvision.models.ResNet(Bottleneck, [1, 1, 1, 1])


def small_detectron2():
    stages, channels = [], 64
    for number, width in enumerate((64, 128, 256, 512)):
        stages.append(
            Detectron2ResNet.make_stage(
                BottleneckBlock, 1, stride_per_block=[2 if number else 1], in_channels=channels,
                bottleneck_channels=width, out_channels=4 * width, norm="FrozenBN", stride_in_1x1=True,
            )
        )  # fmt: skip
        channels = 4 * width
    return Detectron2ResNet(BasicStem(norm="FrozenBN"), stages, out_features=["res5"])


BACKBONES = {
    "torchvision": small_torchvision,
    "mmseg": lambda: SmallResNet(depth=50),
    "Detectron2": small_detectron2,
}


@pytest.fixture(scope="module")
def source():
    """A ResNet of torchvision with its classifier."""
    return randomised(small_torchvision()).state_dict()


def caffe2_name(name):
    """MSRA's name of a tensor of Detectron2's ResNet; it has no running statistics."""
    name = re.sub(r"^stem\.conv1\.norm", "res_conv1_bn", re.sub(r"^stem\.conv1\.w", "conv1.w", name))
    name = name.replace(".shortcut", ".branch1")
    name = re.sub(r"(res\d\.\d+)\.conv(\d)", lambda m: f"{m[1]}.branch2{'abc'[int(m[2]) - 1]}", name)
    name = name.replace(".norm.", "_bn.")
    name = re.sub(r"bn\.weight$", "bn_s", re.sub(r"\.bias$", "_b", name))
    return re.sub(r"\.weight$", "_w", name).replace(".", "_")


def forms(state):
    """How each origin writes this state dict."""
    backbone = {name: value for name, value in state.items() if not name.startswith("fc.")}
    other = {name: value + 1 for name, value in backbone.items()}
    detectron2 = torchvision_to_detectron2(state)
    detector = {name: torch.from_numpy(value) for name, value in detectron2["model"].items()}

    def under(prefix, values=backbone):
        return {prefix + name: value for name, value in values.items()}

    momentum_first = {**under("module.encoder_k.", other), **under("module.encoder_q."), "module.queue": torch.ones(9)}
    return {
        "torchvision": state,
        "timm": dict(zip(timm.models.ResNet(TimmBottleneck, [1] * 4).state_dict(), state.values(), strict=True)),
        "mmpretrain": {"meta": {"epoch": 1}, "state_dict": {**under("backbone."), "head.fc.weight": torch.ones(9, 9)}},
        "MoCo": {"epoch": 1, "state_dict": momentum_first},
        "MoCo v3": {"state_dict": {**under("module.momentum_encoder.", other), **under("module.base_encoder.")}},
        "a GCISG run": {"state_dict": {**under("regularizer.reference.encoder.", other), **under("backbone.")}},
        "Detectron2": detectron2,
        "a detector": {"model": under("backbone.bottom_up.", detector), "iteration": 3},
        "MSRA": {
            caffe2_name(name): value for name, value in detectron2["model"].items()
            if not name.endswith(("running_mean", "running_var", "num_batches_tracked"))
        },
    }  # fmt: skip


@pytest.mark.parametrize("target", BACKBONES)
def test_every_origin_fits_every_backbone(source, target, tmp_path, capsys):
    backbone = BACKBONES[target]()
    own = {name: value for name, value in backbone.state_dict().items() if not name.startswith("fc.")}
    own = {name: value for name, value in own.items() if not name.endswith("num_batches_tracked")}
    if target == "torchvision":
        backbone.fc = torch.nn.Identity()
    new = canonical_names(own)
    for origin, content in forms(source).items():
        for value in own.values():
            value.fill_(-1)
        if origin in ("MSRA", "Detectron2"):
            (tmp_path / "file.pkl").write_bytes(pickle.dumps(content, 2))
            state = read_state_dict(tmp_path / "file.pkl")
        else:
            state = unwrap_state_dict(content, "file")
        load_initial_weights(backbone, state, origin)
        for name, value in own.items():
            if origin == "MSRA" and "running" in name:  # absorbed in weight and bias
                expected = torch.full_like(value, 0 if name.endswith("mean") else 1 - 1e-5)
            else:
                expected = source[new[name]]
            assert torch.equal(value, expected), (origin, name)
        report = capsys.readouterr().out
        assert f"{origin} for {type(backbone).__name__}: 85 of 85 tensors match (100 %)" in report
        assert ("without running statistics" in report) == (origin == "MSRA")
        assert ("stride in the 1 x 1" in report) == (origin == "MSRA" and target != "Detectron2")


def test_names_of_caffe2_are_read_as_detectron2_reads_them(source):
    names = list(forms(source)["MSRA"])
    theirs = canonical_names(convert_basic_c2_names(names))
    assert list(canonical_names(names).values()) == list(theirs.values())


def test_what_did_not_match_is_printed(source, capsys):
    state = {name: value for name, value in source.items() if name != "layer4.0.conv3.weight"}
    state["layer4.0.conv2.weight"] = torch.ones(3, 3)
    load_initial_weights(SmallResNet(depth=50), state, "file.pth")
    assert "83 of 85 tensors match (98 %)" in (report := capsys.readouterr().out)
    assert "not loaded: layer4.0.conv2.weight (shape (3, 3), expected (512, 512, 3, 3)), layer4.0.conv3" in report
    assert "in the file but not used: layer4.0.conv2.weight, fc.weight, fc.bias" in report


@pytest.mark.remedy("To load only what fits, set min_match_ratio to {} or less")
@pytest.mark.parametrize(("file", "target"), [("resnet34", "resnet18"), ("resnet18", "resnet34")])
def test_a_deeper_or_shallower_network_is_refused(file, target):
    network, _ = build_backbone(target)
    before = network.conv1.weight.clone()
    state = torchvision.models.get_model(file).state_dict()
    with pytest.raises(
        DataError, match=r"file.pth: is for another network, not for ResNet: 10\d of 18\d tensors .*min_match_ratio"
    ):
        load_initial_weights(network, state, "file.pth")
    assert torch.equal(network.conv1.weight, before)
    load_initial_weights(network, state, "file.pth", min_match_ratio=0.5)
    assert torch.equal(network.conv1.weight, state["conv1.weight"])


def test_weights_of_something_else_are_refused():
    state = torchvision.models.mobilenet_v3_small().state_dict()
    with pytest.raises(DataError, match=r"0 of 85 tensors match"):
        load_initial_weights(SmallResNet(depth=50), state, "file.pth")
    with pytest.raises(ValueError, match="min_match_ratio must be in"):
        load_initial_weights(SmallResNet(depth=50), state, "file.pth", min_match_ratio=90)


def test_deep_and_plain_stems_are_told_apart(source):
    """In a ResNet-50 more than 90 % of the tensors match, and the network is another one."""
    with torch.device("meta"):
        large, names = ResNet(depth=50), ResNetV1c(depth=50).state_dict()
    assert match_names(large, names).share > 0.9
    with pytest.raises(DataError, match=r"the file has a deep stem"):
        load_initial_weights(large, names, "deep.pth")
    deep = SmallResNetV1c(depth=50)
    with pytest.raises(
        DataError, match=r"the file has a plain stem \(one 7 x 7 .* the backbone a deep stem .*ResNetV1c"
    ):
        load_initial_weights(deep, source, "plain.pth")
    assert match_names(deep, source).share > 0.75
    with pytest.raises(DataError, match=r"the file has a deep stem .* the backbone a plain stem \(one 7 x 7"):
        load_initial_weights(small_detectron2(), deep.state_dict(), "deep.pth")
    load_initial_weights(deep, source, "plain.pth", min_match_ratio=0)
    assert torch.equal(deep.layer4[0].conv3.weight, source["layer4.0.conv3.weight"])


def test_timms_deep_stem_gives_timms_features():
    theirs, ours = timm.create_model("resnet18d").eval(), ResNetV1d(depth=18)
    ours.eval()
    load_initial_weights(ours, theirs.state_dict(), "resnet18d.pth")
    images = torch.rand(1, 3, 64, 64)
    with torch.no_grad():
        torch.testing.assert_close(ours(images)[-1], theirs.forward_features(images))


def test_detectron2s_deep_stem_is_read():
    names = [f"stem.conv{i}.{part}weight" for i in (1, 2, 3) for part in ("", "norm.")]
    assert [*canonical_names(names).values()] == [f"stem.{i}.weight" for i in (0, 1, 3, 4, 6, 7)]


def test_an_ibn_net_takes_plain_weights(source):
    backbone = small_torchvision()
    backbone.fc = torch.nn.Identity()
    apply_backbone_plugins(backbone, {"ibn": "a"})
    load_initial_weights(backbone, source, "file.pth")
    assert torch.equal(backbone.layer1[0].bn1.weight, source["layer1.0.bn1.weight"])


class TestTasks:
    """Each task's own setting for initial weights."""

    @pytest.fixture(scope="class")
    def source(self):
        with torch.device("meta"):
            shapes = torchvision.models.resnet50().state_dict()
        return {name: torch.rand(value.shape) for name, value in shapes.items()}

    @pytest.fixture(scope="class")
    def moco(self, source, tmp_path_factory):
        file = tmp_path_factory.mktemp("weights") / "moco.pth"
        torch.save({f"module.encoder_q.{name}": value for name, value in source.items()}, file)
        return str(file)

    @pytest.fixture
    def other(self, tmp_path):
        torch.save(torchvision.models.resnet18().state_dict(), tmp_path / "r18.pth")
        return str(tmp_path / "r18.pth")

    def test_classification(self, source, moco, other):
        network, _ = build_backbone("resnet50")
        load_pretrained(network, "resnet50", moco)
        assert torch.equal(network.conv1.weight, source["conv1.weight"])
        with pytest.raises(DataError, match=r"r18.pth: is for another network"):
            load_pretrained(network, "resnet50", other)

    def test_segmentation(self, source, moco, other):
        init_default_scope("mmseg")

        def build(**init):
            network = MODELS.build({"type": "ResNet", "depth": 50, "init_cfg": {"type": "Pretrained", **init}})
            network.init_weights()
            return network

        assert torch.equal(build(checkpoint=moco).conv1.weight, source["conv1.weight"])
        with pytest.raises(DataError, match=r"r18.pth: is for another network"):
            build(checkpoint=other)
        assert build(checkpoint=other, min_match_ratio=0.1).depth == 50

    def test_detection(self, source, moco, other, tmp_path):
        plain = ["MODEL.PIXEL_MEAN", [123.675, 116.28, 103.53], "MODEL.PIXEL_STD", [58.395, 57.12, 57.375]]
        plain += ["MODEL.RESNETS.STRIDE_IN_1X1", False, "MODEL.RESNETS.STEM_OUT_CHANNELS", 64]
        plain += ["MODEL.RESNETS.RES2_OUT_CHANNELS", 256, "MODEL.RESNETS.WIDTH_PER_GROUP", 64]
        cfg = tiny_config(tmp_path, tmp_path / "out", *plain, "INPUT.FORMAT", "RGB", config="gcisg_r50_fpn")
        from gcisg_det.engine import Trainer

        model = Trainer.build_model(cfg)
        SafeCheckpointer(model, cfg=cfg).resume_or_load(moco, resume=False)
        assert torch.equal(model.backbone.bottom_up.res5[2].conv3.weight, source["layer4.2.conv3.weight"])
        with pytest.raises(DataError, match=r"r18.pth: is for another network"):
            SafeCheckpointer(model, cfg=cfg).resume_or_load(other, resume=False)
        # A whole detector keeps its heads, and its backbone must match too.
        state = {name: value.clone() for name, value in model.state_dict().items() if "regularizer" not in name}
        state["proposal_generator.rpn_head.conv.bias"] += 1
        torch.save({"model": state}, tmp_path / "detector.pth")
        SafeCheckpointer(model, cfg=cfg).resume_or_load(str(tmp_path / "detector.pth"), resume=False)
        assert torch.equal(model.proposal_generator.rpn_head.conv.bias, state["proposal_generator.rpn_head.conv.bias"])
        half = {name: value for name, value in state.items() if "res5" not in name and "res4" not in name}
        torch.save({"model": half}, tmp_path / "half.pth")
        with pytest.raises(DataError, match=r"half.pth: has 178 of 265 tensors of backbone.bottom_up, not .*res4"):
            SafeCheckpointer(model, cfg=cfg).resume_or_load(str(tmp_path / "half.pth"), resume=False)
        cfg.INPUT.FORMAT = "BGR"
        with pytest.raises(ValueError, match=r"moco.pth holds torchvision weights, but INPUT.FORMAT is BGR"):
            SafeCheckpointer(model, cfg=cfg).resume_or_load(moco, resume=False)
