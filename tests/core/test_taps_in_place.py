"""Stages that an operation in place overwrites, in the ResNets of the three frameworks."""

import copy
import pickle

import pytest
import torch
from torch import nn
from torchvision.models import resnet18

from gcisg_core.backbone_plugins import apply_backbone_plugins
from gcisg_core.encoders import MomentumEncoder, ReferenceEncoder, StageProjectors
from gcisg_core.feature_tap import StageTap, find_stages, make_tap
from gcisg_core.ibn import normalised_stages
from gcisg_core.regularizers import build_regularizer
from gcisg_core.regularizers.isw import covariance
from tests.core.test_ibn import detectron2_resnet, mmseg_resnet


def mmseg_deep_resnet():
    from mmseg.models.backbones import ResNetV1c

    return ResNetV1c(depth=18, stem_channels=8, base_channels=8)


# Name -> network, where its stem's last normalisation is, and the layers up to it.
NETWORKS = {
    "torchvision": (resnet18, "bn1", ("conv1", "bn1")),
    "mmseg": (mmseg_resnet, "bn1", ("conv1", "bn1")),
    "mmseg deep": (mmseg_deep_resnet, "stem.7", [f"stem.{number}" for number in range(8)]),
    "detectron2": (lambda: detectron2_resnet("BN"), "stem.conv1", ("stem.conv1",)),
}


def make(name):
    torch.manual_seed(0)
    network = NETWORKS[name][0]()
    network.train()  # mmseg's returns nothing
    return network


def before_relu(network, name, images):
    for layer in NETWORKS[name][2]:
        images = network.get_submodule(layer)(images)
    return images


def total(outputs):
    """Of whatever a backbone returns."""
    values = outputs.values() if isinstance(outputs, dict) else outputs
    return outputs.sum() if isinstance(outputs, torch.Tensor) else sum(value.sum() for value in values)


def out_of_place(network):
    for module in network.modules():
        if isinstance(module, nn.ReLU):
            module.inplace = False
    return network


@pytest.mark.parametrize("name", NETWORKS)
@pytest.mark.parametrize("training", [True, False])
def test_the_values_are_those_before_the_relu_in_every_pass(name, training):
    network = make(name)
    network.train(training)
    tap, images = StageTap({0: NETWORKS[name][1], 2: find_stages(network)[2]}), torch.randn(2, 3, 32, 32)
    with torch.no_grad():
        expected = before_relu(copy.deepcopy(network), name, images)
    assert expected.min() < -0.1
    for _ in range(3):
        with tap.collect(network) as features:
            network(images)
        torch.testing.assert_close(features[0], expected)
        with torch.no_grad():
            torch.testing.assert_close(tap.run(network, images)[0], expected)


@pytest.mark.parametrize("name", NETWORKS)
def test_the_gradient_of_a_copy_reaches_the_layers_below(name):
    network = make(name).double()
    twin = out_of_place(copy.deepcopy(network))
    tap, images = StageTap({0: NETWORKS[name][1]}), torch.randn(2, 3, 32, 32).double()
    weights = torch.randn(1, 1, 16, 16).double()
    for _ in range(2):
        network.zero_grad()
        with tap.collect(network) as features:
            outputs = network(images)
        (total(outputs) + (features[0] * weights).sum()).backward()
    with torch.no_grad():
        twin(images)  # as many passes for the running statistics
    (total(twin(images)) + (before_relu(twin, name, images) * weights).sum()).backward()
    for (key, mine), theirs in zip(network.named_parameters(), twin.parameters(), strict=True):
        if theirs.grad is not None:
            torch.testing.assert_close(mine.grad, theirs.grad, msg=lambda m, k=key: f"{k}: {m}")


@pytest.mark.parametrize("name", NETWORKS)
def test_other_stages_are_the_tensors_themselves(name, monkeypatch):
    network = make(name)
    places = find_stages(network)
    tap, images, seen = StageTap({1: places[1], 3: places[3]}), torch.rand(2, 3, 32, 32), {}
    for stage in (1, 3):
        network.get_submodule(places[stage]).register_forward_hook(lambda m, i, out, s=stage: seen.update({s: out}))
    for number in range(2):
        with tap.collect(network) as features:
            network(images)
            if number:
                monkeypatch.setattr(torch.Tensor, "clone", None)  # from the second pass on, nothing is copied
        assert all(features[stage] is seen[stage] for stage in (1, 3))


@pytest.mark.parametrize("name", NETWORKS)
def test_stage_0_is_after_the_relu_unless_named_otherwise(name):
    network = make(name)
    network.eval()
    images = torch.randn(1, 3, 32, 32)
    for _ in range(2):
        with make_tap(network, [0]).collect(network) as features:
            network(images)
        torch.testing.assert_close(features[0], before_relu(network, name, images).relu())


@pytest.mark.parametrize("name", NETWORKS)
def test_isw_whitens_before_the_relu(name):
    network = make(name)
    isw = build_regularizer(network, {"method": "isw", "warmup_steps": 1, "statistics_steps": 1})
    assert isw.tap.locations[0] == NETWORKS[name][1]
    for _ in range(2):
        views = [torch.randn(2, 3, 32, 32) for _ in range(2)]
        before = copy.deepcopy(network)
        losses, _ = isw.step(views, lambda v=views: {"loss_task": total(network(v[0]))})
    with make_tap(before, [1, 2]).collect(before) as maps:
        before(views[0])
    maps[0] = before_relu(before, name, views[0])
    parts = []
    for stage in range(3):
        mask = isw.get_buffer(f"mask_stage{stage}")
        parts.append((covariance(maps[stage]).abs() * mask).sum((1, 2)).mean() / mask.sum())
    torch.testing.assert_close(losses["loss_isw"], 0.6 * sum(parts) / 3)


@pytest.mark.parametrize("name", ["torchvision", "mmseg", "detectron2"])
def test_isw_finds_the_normalisations_of_its_own_network(name):
    network = make(name)
    apply_backbone_plugins(network, {"ibn": "isw"})
    first = "res2" if name == "detectron2" else "layer1"
    places = normalised_stages(network)
    assert (places[0], places[1]) == (NETWORKS[name][1], f"{first}.1.IN")
    features = build_regularizer(network, {"method": "isw"}).tap.run(network, torch.randn(1, 3, 64, 64))
    for maps in features.values():  # instance normalised, and not rectified
        torch.testing.assert_close(maps.mean((2, 3)), torch.zeros(maps.shape[:2]), atol=1e-4, rtol=0)


def test_the_networks_beside_the_student_too():
    network, images = resnet18().train(), torch.randn(2, 3, 32, 32)
    tap = StageTap({0: "bn1", 1: "layer1"})
    target = MomentumEncoder(network, StageProjectors({1: 64}), tap)
    reference = ReferenceEncoder(network, tap)
    expected = before_relu(copy.deepcopy(network), "torchvision", images)
    frozen = before_relu(copy.deepcopy(network).eval(), "torchvision", images)
    for _ in range(2):
        torch.testing.assert_close(target(images, network)[0], expected)
        torch.testing.assert_close(reference(images)[0], frozen, rtol=1e-4, atol=1e-5)


def test_an_output_that_the_task_overwrites():
    class Backbone(nn.Module):
        def __init__(self):
            super().__init__()
            self.conv = nn.Conv2d(3, 4, 3)

        def forward(self, images):
            return (self.conv(images),)

    backbone, images = Backbone(), torch.randn(2, 3, 8, 8)
    tap = StageTap({1: 0})
    for _ in range(2):
        tap.run(backbone, images)  # ends before the task's part
        with tap.collect(backbone) as features:
            backbone(images)[0].relu_()
        torch.testing.assert_close(features[1], backbone.conv(images))


def test_what_is_overwritten_late_is_an_error_and_copied_from_then_on():
    network = nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU(inplace=False))
    tap, images = StageTap({1: "0"}), torch.randn(2, 3, 8, 8)
    for _ in range(2):
        with tap.collect(network):
            network(images)
    network[1].inplace = True
    with (
        pytest.raises(RuntimeError, match=r"stage 1 of Sequential: .* overwrote what '0' returned"),
        tap.collect(network),
    ):
        network(images)
    with tap.collect(network) as features:
        network(images)
    assert features[1].min() < 0


def test_a_tap_that_was_used_can_be_copied_and_pickled():
    network, tap, images = resnet18().eval(), StageTap({0: "bn1", 2: "layer2"}), torch.randn(1, 3, 32, 32)
    expected = tap.run(network, images)
    for other in (copy.deepcopy(tap), pickle.loads(pickle.dumps(tap))):
        found = other.run(network, images)
        assert all(torch.equal(found[stage], expected[stage]) for stage in (0, 2))


def test_under_inference_mode_and_bfloat16():
    network, tap, images = resnet18().eval(), StageTap({0: "bn1", 2: "layer2"}), torch.randn(1, 3, 32, 32)
    for _ in range(2):
        with torch.inference_mode():
            assert tap.run(network, images)[0].min() < 0
        with torch.autocast("cpu", dtype=torch.bfloat16), tap.collect(network) as features:
            network(images)
        assert features[0].min() < 0


@pytest.mark.remedy("as parts under activation checkpointing do (with_cp). Turn that off, or name a whole stage")
def test_under_activation_checkpointing():
    from mmseg.models.backbones import ResNet

    def build(with_cp):
        torch.manual_seed(0)
        network = ResNet(depth=18, stem_channels=8, base_channels=8, with_cp=with_cp)
        network.train()
        return network.double()

    gradients, images = [], torch.randn(2, 3, 32, 32).double()
    for network in (build(True), build(False)):
        tap = StageTap({0: "bn1", 2: "layer2"})
        for _ in range(2):
            network.zero_grad()
            with tap.collect(network) as features:
                outputs = network(images)
            (total(outputs) + features[0].square().sum() + features[2].square().sum()).backward()
        gradients.append([parameter.grad for parameter in network.parameters()])
    torch.testing.assert_close(*gradients)
    network = build(True)
    with (
        pytest.raises(ValueError, match=r"'layer2.0.bn1' runs without gradients"),
        StageTap({2: "layer2.0.bn1"}).collect(network),
    ):
        network(images)
    turned_off = build(False)
    with StageTap({2: "layer2.0.bn1"}).collect(turned_off) as features:
        turned_off(images)
    assert features[2].requires_grad
