import pytest
import torch
import torchvision
from torch import nn

from gcisg_core.feature_tap import StageTap, find_stages, make_tap


@pytest.fixture(scope="module")
def resnet():
    torch.manual_seed(0)
    return torchvision.models.resnet18().eval()


class TupleBackbone(nn.Module):
    """Returns its stages as a tuple, as MMSegmentation's transformers do."""

    def __init__(self):
        super().__init__()
        self.blocks = nn.ModuleList(nn.Conv2d(c, 2 * c, 3, stride=2, padding=1) for c in (3, 6, 12))

    def forward(self, x):
        outputs = []
        for block in self.blocks:
            x = block(x)
            outputs.append(x)
        return tuple(outputs)


class DictBackbone(TupleBackbone):
    """Returns its stages by name, as Detectron2's backbones do."""

    def forward(self, x):
        _, *rest = super().forward(x)
        return dict(zip(("p1", "p2"), rest, strict=True))


def test_finds_the_stages_of_a_resnet(resnet):
    assert find_stages(resnet) == {0: "relu", 1: "layer1", 2: "layer2", 3: "layer3", 4: "layer4"}
    features = make_tap(resnet, range(5)).run(resnet, torch.rand(2, 3, 64, 64))
    assert {stage: tuple(f.shape) for stage, f in features.items()} == {
        0: (2, 64, 32, 32), 1: (2, 64, 16, 16), 2: (2, 128, 8, 8), 3: (2, 256, 4, 4), 4: (2, 512, 2, 2),
    }  # fmt: skip


def test_stage_0_is_the_stem_after_its_relu_and_before_pooling(resnet):
    images = torch.rand(1, 3, 64, 64)
    stem = resnet.relu(resnet.bn1(resnet.conv1(images)))
    torch.testing.assert_close(make_tap(resnet, [0]).run(resnet, images)[0], stem)


def test_taps_the_very_tensors_of_a_full_pass_with_their_gradient(resnet):
    tap, images = make_tap(resnet, [3]), torch.rand(1, 3, 64, 64)
    with tap.collect(resnet) as features:
        scores = resnet(images)
    gradient = torch.autograd.grad(scores.sum(), features[3])[0]
    assert gradient.abs().sum() > 0


def test_stops_at_the_deepest_stage_needed(resnet):
    calls = []
    handle = resnet.layer4.register_forward_hook(lambda *_: calls.append(1))
    make_tap(resnet, [1, 3]).run(resnet, torch.rand(1, 3, 64, 64))
    assert not calls
    resnet(torch.rand(1, 3, 64, 64))
    assert calls
    handle.remove()


def test_leaves_no_hook_behind_even_after_an_error(resnet):
    tap = make_tap(resnet, [3])
    with pytest.raises(RuntimeError), tap.collect(resnet):
        resnet(torch.rand(1, 1, 64, 64))
    assert not any(module._forward_hooks for module in resnet.modules())


@pytest.mark.parametrize(
    ("backbone", "stages"), [(TupleBackbone(), {2: 0, 3: 1, 4: 2}), (DictBackbone(), {3: "p1", 4: "p2"})]
)
def test_reads_backbones_that_return_their_stages(backbone, stages):
    assert find_stages(backbone) == stages
    features = make_tap(backbone, [3, 4]).run(backbone, torch.rand(1, 3, 32, 32))
    assert {stage: f.shape[1] for stage, f in features.items()} == {3: 12, 4: 24}


def test_knows_the_channels_and_restores_the_modes(resnet):
    resnet.layer1.train()
    assert make_tap(resnet, [2, 4]).channels(resnet) == {2: 128, 4: 512}
    assert resnet.layer1.training
    assert not resnet.layer2.training
    resnet.eval()


def test_a_missing_stage_is_named(resnet):
    with pytest.raises(ValueError, match=r"has no stage 0; it has \[2, 3, 4\]"):
        make_tap(TupleBackbone(), [0, 4])


def test_an_unknown_backbone_says_what_to_do():
    with pytest.raises(ValueError, match="stage_locations"):
        find_stages(nn.Sequential(nn.Conv2d(3, 3, 1)))


@pytest.mark.parametrize("place", ["layer9", 7, "avgpool.x"])
def test_a_wrong_location_is_named(resnet, place):
    with pytest.raises(ValueError, match=f"stage 3 of ResNet: {place!r}"):
        StageTap({3: place}).run(resnet, torch.rand(1, 3, 64, 64))


def test_features_must_be_maps(resnet):
    with pytest.raises(ValueError, match=r"expected features of the shape \(B, C, H, W\)"):
        StageTap({4: "fc"}).run(resnet, torch.rand(1, 3, 64, 64))


def test_a_place_that_comes_after_the_deepest_stage_is_named(resnet):
    with pytest.raises(ValueError, match="stage 1 of ResNet: 'layer4' was not reached before stage 2"):
        StageTap({1: "layer4", 2: "layer2"}).run(resnet, torch.rand(1, 3, 64, 64))
