import copy

import pytest
import torch
import torchvision
from torch import nn

from gcisg_core.encoders import MomentumEncoder, Projector, ReferenceEncoder, StageProjectors, fold_batch_norm
from gcisg_core.feature_tap import make_tap


@pytest.fixture
def resnet():
    torch.manual_seed(0)
    network = torchvision.models.resnet18()
    for module in network.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.running_mean.normal_()
            module.running_var.uniform_(0.5, 2)
            module.weight.data.uniform_(0.5, 1.5)
            module.bias.data.normal_()
    return network


def change(network):
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.add_(torch.randn_like(parameter) * 0.1)


def make_target(resnet, decay=0.9):
    projectors = StageProjectors({3: 256, 4: 512}, dim=16)
    return MomentumEncoder(resnet, projectors, make_tap(resnet, [3, 4]), decay), projectors


def test_a_projector_is_linear_relu_linear():
    projector = Projector(6, 4)
    x = torch.randn(5, 6)
    expected = projector[2].weight @ torch.relu(projector[0].weight @ x.T + projector[0].bias[:, None])
    torch.testing.assert_close(projector(x), expected.T + projector[2].bias)


def test_embeddings_have_unit_length_and_full_precision():
    projectors = StageProjectors({3: 8}, dim=4)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        z = projectors.embed(3, torch.randn(5, 8))
    assert z.dtype is torch.float32
    torch.testing.assert_close(z.norm(dim=1), torch.ones(5))


class TestTarget:
    def test_follows_the_formula(self, resnet):
        target, _ = make_target(resnet, decay=0.9)
        expected = {name: p.detach().clone() for name, p in resnet.named_parameters()}
        for _ in range(3):
            change(resnet)
            target.update(resnet)
            expected = {name: 0.9 * expected[name] + 0.1 * p.detach() for name, p in resnet.named_parameters()}
        for name, parameter in target.average.module.named_parameters():
            torch.testing.assert_close(parameter, expected[name])

    def test_its_projectors_stay_as_they_were(self, resnet):
        target, projectors = make_target(resnet)
        before = copy.deepcopy(projectors.state_dict())
        change(projectors)
        target.update(resnet)
        for name, value in target.projectors.state_dict().items():
            assert torch.equal(value, before[name])

    def test_normalises_as_the_student_does(self, resnet):
        target, _ = make_target(resnet)
        resnet.train()
        resnet.layer2.eval()
        images = torch.rand(4, 3, 64, 64)
        running = resnet.bn1.running_mean.clone()
        expected = make_tap(resnet, [3]).run(copy.deepcopy(resnet), images)[3]
        torch.testing.assert_close(target(images, resnet)[3], expected)
        assert torch.equal(resnet.bn1.running_mean, running)

    def test_has_no_gradient(self, resnet):
        target, _ = make_target(resnet)
        assert not any(parameter.requires_grad for parameter in target.parameters())
        assert not target(torch.rand(2, 3, 64, 64), resnet)[3].requires_grad

    def test_refuses_a_decay_above_one(self, resnet):
        with pytest.raises(ValueError, match=r"decay must be in \[0, 1\], got 1.5"):
            make_target(resnet, decay=1.5)


class TestReference:
    def test_gives_the_features_of_the_pretrained_network(self, resnet):
        reference = ReferenceEncoder(resnet, make_tap(resnet, [0, 3, 4]))
        images = torch.rand(2, 3, 64, 64)
        expected = make_tap(resnet, [0, 3, 4]).run(resnet.eval(), images)
        for stage, features in reference(images).items():
            torch.testing.assert_close(features, expected[stage], rtol=1e-4, atol=1e-4)

    def test_stays_in_eval_mode_without_gradient(self, resnet):
        reference = ReferenceEncoder(resnet, make_tap(resnet, [3]))
        assert reference.train() is reference
        assert not any(module.training for module in reference.modules())
        assert not reference(torch.rand(1, 3, 64, 64))[3].requires_grad

    def test_does_not_follow_the_student(self, resnet):
        reference, images = ReferenceEncoder(resnet, make_tap(resnet, [3])), torch.rand(1, 3, 64, 64)
        before = reference(images)[3]
        change(resnet)
        assert torch.equal(reference(images)[3], before)
        reference.capture(resnet)
        assert not torch.allclose(reference(images)[3], before)


class TestFolding:
    def test_leaves_no_batch_norm_in_a_resnet(self, resnet):
        folded = fold_batch_norm(copy.deepcopy(resnet))
        assert not any(isinstance(module, nn.BatchNorm2d) for module in folded.modules())

    def test_leaves_other_networks_and_layers_alone(self, resnet):
        vgg = torchvision.models.vgg11_bn()
        assert fold_batch_norm(copy.deepcopy(vgg)).state_dict().keys() == vgg.state_dict().keys()
        resnet.bn1 = nn.GroupNorm(2, 64)
        assert isinstance(fold_batch_norm(resnet).bn1, nn.GroupNorm)

    def test_folds_a_norm_inside_its_convolution_as_in_detectron2(self):
        class Conv2d(nn.Conv2d):
            def __init__(self):
                super().__init__(3, 4, 3)
                self.norm = nn.BatchNorm2d(4)

            def forward(self, x):
                x = super().forward(x)
                return x if self.norm is None else self.norm(x)

        class TinyResNet(nn.Sequential):
            pass

        network = TinyResNet(Conv2d()).eval()
        network[0].norm.running_mean.normal_()
        images = torch.rand(1, 3, 8, 8)
        expected = network(images)
        torch.testing.assert_close(fold_batch_norm(network)(images), expected)
        assert isinstance(network[0].norm, nn.Identity)

    def test_leaves_layers_that_do_more_than_their_name_says(self, resnet):
        class StandardisedConv2d(nn.Conv2d):
            """As mmcv's ConvWS2d."""

            def forward(self, x):
                w = self.weight
                return self._conv_forward(x, (w - w.mean()) / w.std(), self.bias)

        class BatchNormAct2d(nn.BatchNorm2d):
            """As timm's."""

            def forward(self, x):
                return super().forward(x).relu()

        resnet.conv1 = StandardisedConv2d(3, 64, 7, 2, 3, bias=False)
        resnet.layer1[0].bn2 = BatchNormAct2d(64)
        resnet.layer2[0].bn1 = nn.BatchNorm2d(128, track_running_stats=False)
        resnet.layer3[0].conv1.register_forward_hook(lambda module, inputs, output: output * 2)
        resnet.layer4[0].conv1 = nn.utils.parametrizations.weight_norm(resnet.layer4[0].conv1)
        resnet.eval()
        folded = fold_batch_norm(copy.deepcopy(resnet))
        images = torch.rand(2, 3, 64, 64)
        torch.testing.assert_close(folded(images), resnet(images), rtol=1e-4, atol=1e-4)
        kept = {name for name, module in folded.named_modules() if isinstance(module, nn.BatchNorm2d)}
        assert kept == {"bn1", "layer1.0.bn2", "layer2.0.bn1", "layer3.0.bn1", "layer4.0.bn1"}

    def test_leaves_a_convolution_whose_output_is_tapped(self, resnet):
        tap = make_tap(resnet, [0, 1], {0: "conv1", 1: "layer1.0.bn1"})
        features = ReferenceEncoder(resnet, tap)(images := torch.rand(1, 3, 64, 64))
        for stage, expected in tap.run(resnet.eval(), images).items():
            torch.testing.assert_close(features[stage], expected, rtol=1e-4, atol=1e-4)
