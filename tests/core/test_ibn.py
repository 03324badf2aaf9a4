"""IBN-Net on the ResNets of the three frameworks: against a form written out, and loading plain weights."""

import copy
import logging

import pytest
import torch
import torch.nn.functional as F
from torch import nn
from torchvision.models import resnet18, resnet50

from gcisg_core.backbone_plugins import apply_backbone_plugins
from gcisg_core.encoders import fold_batch_norm
from gcisg_core.ibn import InstanceBatchNorm, added_names
from gcisg_core.regularizers import build_regularizer


def mmseg_resnet(**options):
    from mmseg.models.backbones import ResNet

    return ResNet(depth=18, stem_channels=8, base_channels=8, **options)


def detectron2_resnet(norm="FrozenBN", block="BottleneckBlock"):
    pytest.importorskip("detectron2")
    import gcisg_det  # noqa: F401  repairs Detectron2 0.5 before it is imported

    # isort: split
    from detectron2.modeling.backbone import resnet

    stages, channels = [], 8
    for number, width in enumerate((16, 24, 32, 40)):
        inner = {"bottleneck_channels": 8} if block == "BottleneckBlock" else {}
        stages.append(
            resnet.ResNet.make_stage(
                getattr(resnet, block), 2, in_channels=channels, out_channels=width, norm=norm,
                stride_per_block=[2 if number else 1, 1], **inner,
            )
        )  # fmt: skip
        channels = width
    stem = resnet.BasicStem(3, 8, norm)
    return resnet.ResNet(stem, stages, out_features=["res2", "res3", "res4", "res5"])


NETWORKS = {
    "torchvision": resnet18,
    "torchvision bottleneck": resnet50,
    "mmseg": mmseg_resnet,
    "detectron2": detectron2_resnet,
    "detectron2 basic": lambda: detectron2_resnet("BN", "BasicBlock"),
}


def make(name):
    torch.manual_seed(0)
    network = NETWORKS[name]()
    generator = torch.Generator().manual_seed(1)
    state = network.state_dict()
    for key, value in state.items():  # as after training
        if key.endswith(("running_mean", "bias")) and value.ndim == 1:
            value.copy_(0.1 * torch.randn(value.shape, generator=generator))
        if key.endswith("running_var") or (key.endswith("weight") and value.ndim == 1):
            value.copy_(0.5 + torch.rand(value.shape, generator=generator))
    network.eval()  # MMSegmentation's returns nothing
    return network


def norm_of(block, number):
    conv = getattr(block, f"conv{number}")
    return getattr(conv, "norm", None) or getattr(block, f"bn{number}")


def instance(x, weight=None, bias=None):
    mean, variance = x.mean((2, 3), keepdim=True), x.var((2, 3), keepdim=True, unbiased=False)
    x = (x - mean) / (variance + 1e-5).sqrt()
    return x if weight is None else x * weight[:, None, None] + bias[:, None, None]


def slow(network, images, kind, blocks_in):
    """The converted network, from the tensors of the plain one: functional convolutions and normalisations."""

    def batch(x, norm):
        return F.batch_norm(x, norm.running_mean, norm.running_var, norm.weight, norm.bias, eps=norm.eps)

    def half(x, norm):
        n = x.shape[1] // 2
        return torch.cat([instance(x[:, :n], norm.weight[:n], norm.bias[:n]), batch(x, norm)[:, n:]], dim=1)

    def convolve(x, conv):
        return F.conv2d(x, conv.weight, None, conv.stride, conv.padding, conv.dilation, conv.groups)

    stem = getattr(network, "stem", network)
    norm = norm_of(stem, 1)
    x = convolve(images, stem.conv1)
    x = batch(x, norm) if kind == "a" else instance(x, *((norm.weight, norm.bias) if kind == "b" else ()))
    x = F.max_pool2d(F.relu(x), 3, 2, 1)
    outputs = []
    for stage, blocks in enumerate(blocks_in(network), start=1):
        for position, block in enumerate(blocks):
            out = x
            for number in (1, 2, 3):
                if not hasattr(block, f"conv{number}"):
                    continue
                out = F.relu(out) if number > 1 else out
                out = convolve(out, getattr(block, f"conv{number}"))
                rule = half if kind == "a" and number == 1 and stage <= 3 else batch
                out = rule(out, norm_of(block, number))
            shortcut = getattr(block, "downsample", None) or getattr(block, "shortcut", None)
            out = out + (shortcut(x) if shortcut else x)
            if kind != "a" and stage <= 2 and position == len(blocks) - 1:
                out = instance(out)  # weight 1 and bias 0 where there are any
            x = F.relu(out)
        outputs.append(x)
    return outputs


def stages_of(network):
    names = ["layer1", "layer2", "layer3", "layer4"] if hasattr(network, "layer1") else ["res2", "res3", "res4", "res5"]
    return [[*getattr(network, name).children()] for name in names]


@pytest.mark.parametrize("kind", ["a", "b", "isw"])
@pytest.mark.parametrize("name", NETWORKS)
def test_output_is_that_of_the_paper_from_plain_weights(name, kind, caplog):
    plain, network = make(name), NETWORKS[name]()
    network.eval()
    with torch.no_grad():
        apply_backbone_plugins(network, {"ibn": kind})
        with caplog.at_level(logging.WARNING):
            network.load_state_dict(plain.state_dict())  # strict: nothing is missing, nothing left over
        images = torch.rand(2, 3, 64, 64)
        kept = []
        for stage in stages_of(network):
            stage[-1].register_forward_hook(lambda module, inputs, output: kept.append(output.clone()))
        network(images)
        for mine, expected in zip(kept, slow(plain, images, kind, stages_of), strict=True):
            torch.testing.assert_close(mine, expected, rtol=1e-3, atol=1e-3)
    (report,) = caplog.messages
    assert f"{len(plain.state_dict())} of its" in report
    if kind == "b":
        assert report.endswith(("1.IN.bias", "2.IN.bias", "3.IN.bias"))
    else:
        assert report.endswith("as initialised: nothing")


def test_its_own_weights_load_without_a_report_and_not_into_a_plain_network(caplog):
    network = make("torchvision")
    apply_backbone_plugins(network, {"ibn": "a"})
    state = copy.deepcopy(network.state_dict())
    with caplog.at_level(logging.WARNING):
        network.load_state_dict(state)
    assert not caplog.messages
    with pytest.raises(RuntimeError, match="instance_share"):
        resnet18().load_state_dict(state)
    assert all(name.endswith("instance_share") for name in added_names(network))


def test_the_batch_part_follows_the_data_and_a_frozen_one_does_not():
    for norm, moves in ((nn.BatchNorm2d(4), True), (detectron2_resnet().stem.conv1.norm, False)):
        layer = InstanceBatchNorm(norm, 0.5).train()
        before = layer.running_mean.clone()
        layer(torch.rand(2, len(before), 8, 8))
        n = layer.channels
        assert torch.equal(layer.running_mean[:n], before[:n])
        assert torch.equal(layer.running_mean[n:], before[n:]) != moves


def test_the_reference_of_a_method_is_the_same_function():
    """Its BatchNorm layers are folded; those of IBN-Net are none."""
    network = make("torchvision")
    apply_backbone_plugins(network, {"ibn": "b"})
    folded = fold_batch_norm(copy.deepcopy(network))
    images = torch.rand(2, 3, 64, 64)
    assert sum(isinstance(module, nn.BatchNorm2d) for module in folded.modules()) == 0
    torch.testing.assert_close(folded(images), network(images), rtol=1e-3, atol=1e-4)
    synchronised = nn.SyncBatchNorm.convert_sync_batchnorm(copy.deepcopy(network))
    assert sum(isinstance(m, InstanceBatchNorm) for m in synchronised.modules()) == 1


@pytest.mark.parametrize("kind", ["a", "b"])
def test_trains_with_a_method_under_bfloat16(kind):
    network = make("torchvision").train()
    apply_backbone_plugins(network, {"ibn": kind})
    gcisg = build_regularizer(network, {"method": "gcisg", "queue_length": 8})
    views = [torch.rand(2, 3, 64, 64) for _ in range(2)]
    with torch.autocast("cpu", dtype=torch.bfloat16):
        losses, _ = gcisg.step(views, lambda: {"loss_task": network(views[0]).square().mean()})
    sum(losses.values()).backward()
    assert all(p.grad is not None and p.grad.isfinite().all() for p in network.parameters())


@pytest.mark.remedy("Use a ResNet with BatchNorm and a plain stem", "{} with {}; use kind a")
def test_networks_of_other_parts():
    with pytest.raises(ValueError, match="BasicBlock has GroupNorm as bn1. Use a ResNet with BatchNorm and a plain"):
        apply_backbone_plugins(resnet18(norm_layer=lambda c: nn.GroupNorm(2, c)), {"ibn": "a"})
    apply_backbone_plugins(resnet18(), {"ibn": "a"})
    with pytest.raises(ValueError, match="IBN-Net b is not defined for BasicBlock with with_cp; use kind a"):
        apply_backbone_plugins(mmseg_resnet(with_cp=True), {"ibn": "b"})
    apply_backbone_plugins(mmseg_resnet(with_cp=True), {"ibn": "a"})


@pytest.mark.parametrize(
    ("network", "changes", "message"),
    [
        (resnet18, {"ibn": "c"}, "unknown kind of IBN-Net 'c'"),
        (resnet18, {"inb": "a"}, "unknown backbone plugin 'inb'. Did you mean 'ibn'"),
        (lambda: nn.Sequential(nn.Conv2d(3, 4, 3)), {"ibn": "a"}, "ibn does not apply to Sequential of torch: IBN-Net"),
        (lambda: resnet18(norm_layer=lambda c: nn.GroupNorm(2, c)), {"ibn": "a"}, "BasicBlock has GroupNorm as bn1"),
    ],
)
def test_what_cannot_be_converted_is_refused(network, changes, message):
    with pytest.raises(ValueError, match=message):
        apply_backbone_plugins(network(), changes)
