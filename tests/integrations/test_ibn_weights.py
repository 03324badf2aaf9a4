"""Weights of IBN-Net in both forms that its authors publish, and our own, in the ResNets of the three frameworks."""

import copy
import logging

import pytest
import torch
from mmseg.models.backbones import ResNet as MMSegResNet
from torch import nn
from torchvision.models import ResNet, resnet18
from torchvision.models.resnet import BasicBlock

import gcisg_det  # noqa: F401  repairs Detectron2 0.5 before it is imported

# isort: split
from detectron2.modeling.backbone import resnet as detectron2

from gcisg_core.backbone_plugins import apply_backbone_plugins
from gcisg_core.feature_tap import make_tap
from gcisg_core.initial_weights import load_initial_weights, match_names
from gcisg_core.problems import DataError
from gcisg_suite.analysis.load import load_backbone


class Halves(nn.Module):
    """The layer of IBN-Net a, Figure 3 (a), under the authors' names."""

    def __init__(self, channels):
        super().__init__()
        self.IN = nn.InstanceNorm2d(channels // 2, affine=True)
        self.BN = nn.BatchNorm2d(channels - channels // 2)

    def forward(self, x):
        first, second = x.split([self.IN.num_features, self.BN.num_features], dim=1)
        return torch.cat([self.IN(first), self.BN(second)], dim=1)


class EndsInInstanceNorm(BasicBlock):
    """The last block of a stage of IBN-Net b, Figure 3 (b)."""

    def forward(self, x):
        out = self.bn2(self.conv2(self.bn1(self.conv1(x)).relu()))
        shortcut = x if self.downsample is None else self.downsample(x)
        return self.IN(out + shortcut).relu()


def published(kind):
    """IBN-Net-18 as its authors build it, as if trained."""
    torch.manual_seed(0)
    network = ResNet(BasicBlock, [2, 2, 2, 2])
    if kind == "a":
        for stage in (network.layer1, network.layer2, network.layer3):
            for block in stage:
                block.bn1 = Halves(block.bn1.num_features)
    if kind == "b":
        network.bn1 = nn.InstanceNorm2d(64, affine=True)
        for stage, channels in ((network.layer1, 64), (network.layer2, 128)):
            stage[1].__class__ = EndsInInstanceNorm
            stage[1].IN = nn.InstanceNorm2d(channels, affine=True)
    for name, value in network.state_dict().items():
        if value.ndim == 1:
            value.normal_(0, 0.2) if name.endswith(("bias", "mean")) else value.uniform_(0.5, 1.5)
    return network.eval()


def detectron2_resnet18():
    stages, channels = [], 64
    for number, width in enumerate((64, 128, 256, 512)):
        block = {"in_channels": channels, "out_channels": width, "norm": "FrozenBN"}
        strides = {"stride_per_block": [2 if number else 1, 1]}
        stages.append(detectron2.ResNet.make_stage(detectron2.BasicBlock, 2, **strides, **block))
        channels = width
    return detectron2.ResNet(detectron2.BasicStem(norm="FrozenBN"), stages, out_features=["res5"])


def without_classifier():
    network = resnet18()
    network.fc = nn.Identity()
    return network


BACKBONES = {
    "torchvision": without_classifier, "mmseg": lambda: MMSegResNet(depth=18), "detectron2": detectron2_resnet18,
}  # fmt: skip


def build(target, kind):
    torch.manual_seed(1)
    network = BACKBONES[target]()
    apply_backbone_plugins(network, {"ibn": kind} if kind else None)
    network.eval()
    return network


def outputs(network):
    images = torch.rand(2, 3, 64, 64, generator=torch.Generator().manual_seed(2))
    with torch.no_grad():
        return make_tap(network, [1, 2, 3, 4]).run(network, images)


def assert_same(network, reference):
    for stage, expected in outputs(reference).items():
        torch.testing.assert_close(outputs(network)[stage], expected, rtol=1e-4, atol=1e-4)


def backbone_state(network):
    return {name: value for name, value in network.state_dict().items() if not name.startswith("fc.")}


@pytest.mark.parametrize("prefix", ["", "module."])
@pytest.mark.parametrize("kind", ["a", "b"])
@pytest.mark.parametrize("target", BACKBONES)
def test_the_authors_weights_give_the_authors_features(target, kind, prefix, capsys, caplog):
    reference, network = published(kind), build(target, kind)
    with caplog.at_level(logging.WARNING):
        load_initial_weights(network, {prefix + n: v for n, v in reference.state_dict().items()}, "ibn.pth")
    assert_same(network, reference)
    report = capsys.readouterr().out
    assert f"{100 if kind == 'a' else 102} of {100 if kind == 'a' else 102} tensors match (100 %)" in report
    assert "not loaded" not in report
    assert "in the file but not used: " + prefix + "fc.weight" in report
    assert not caplog.messages


@pytest.mark.parametrize("kind", ["a", "b"])
def test_they_load_by_pytorchs_own_function_and_for_an_analysis(kind, caplog):
    reference = published(kind)
    state = backbone_state(reference)
    for load in (nn.Module.load_state_dict, lambda network, state: load_backbone(network, state, "ibn.pth")):
        network = build("torchvision", kind)
        load(network, state)  # strict
        assert_same(network, reference)
    assert not caplog.messages
    assert any(".IN." in name for name in state)  # left as it was


@pytest.mark.parametrize("kind", ["a", "b", "isw"])
@pytest.mark.parametrize("target", BACKBONES)
def test_own_weights_come_back_exactly(target, kind, caplog, capsys):
    source = build(target, kind)
    for value in source.state_dict().values():
        if value.ndim:
            value.uniform_(0.5, 1.5)
    state = copy.deepcopy(source.state_dict())
    strict, initial = build(target, kind), build(target, kind)
    strict.load_state_dict(state)
    load_initial_weights(initial, {f"backbone.{name}": value for name, value in state.items()}, "run.pth")
    for name, value in state.items():
        assert torch.equal(strict.state_dict()[name], value), name
        assert torch.equal(initial.state_dict()[name], value) or name.endswith("num_batches_tracked"), name
    assert "tensors match (100 %)" in capsys.readouterr().out
    assert not caplog.messages


@pytest.mark.parametrize("target", BACKBONES)
def test_what_plain_weights_lack_is_counted(target, capsys):
    plain = resnet18().state_dict()
    load_initial_weights(build(target, "b"), plain, "plain.pth")
    report = capsys.readouterr().out
    assert "100 of 104 tensors match (96 %)" in report
    last = "res2.1.IN.weight, res2.1.IN.bias" if target == "detectron2" else "layer1.1.IN.weight, layer1.1.IN.bias"
    assert f"not loaded: {last}" in report
    assert "add start as the identity" in report.replace("adds", "add")
    load_initial_weights(build(target, "a"), plain, "plain.pth")
    report = capsys.readouterr().out
    assert "100 of 100 tensors match (100 %)" in report
    assert "running statistics of instance normalised channels are not used" in report


@pytest.mark.parametrize(
    ("file", "backbone", "where"),
    [("a", None, "layer1.0.bn1"), ("b", None, "layer1.1.IN"), ("a", "b", "layer1.0.bn1"), ("b", "a", "layer1.1.IN"),
     ("b", "isw", "layer1.1.IN")],
)  # fmt: skip
def test_an_ibn_net_of_another_kind_is_refused(file, backbone, where):
    network, state = build("mmseg", backbone), published(file).state_dict()
    own = build("torchvision", file).state_dict()
    for weights in (state, own):
        with pytest.raises(
            DataError, match=rf"of an IBN-Net with an instance normalisation in (bn1|{where}) .*has none there"
        ):
            load_initial_weights(network, weights, "ibn.pth")
    load_initial_weights(network, state, "ibn.pth", min_match_ratio=0)  # takes what fits
    assert torch.equal(network.layer4[0].bn1.weight, state["layer4.0.bn1.weight"])


def test_another_share_of_channels_is_refused():
    network = build("torchvision", "a")
    state = network.state_dict()
    state["layer1.0.bn1.instance_share"] = torch.tensor(0.25)
    assert "another share of channels there" in match_names(network, state).difference
    with pytest.raises(RuntimeError, match=r"layer1.0.bn1: 0.25 of the channels are instance normalised, expected 0.5"):
        network.load_state_dict(state)
