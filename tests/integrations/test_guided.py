"""Another guide than the student's initial copy: torchvision's and timm's, from local files."""

import copy

import pytest
import torch
import torch.nn.functional as F
from torchvision.models import resnet18

import gcisg_core.integrations.timm  # noqa: F401  registers its guides
from gcisg_core.guides import GuideEncoder
from gcisg_core.losses import guidance_loss
from gcisg_core.regularizers import build_regularizer
from gcisg_suite.miniature.network import MiniResNet

timm = pytest.importorskip("timm")


@pytest.fixture
def weights(tmp_path):
    torch.manual_seed(3)
    torch.save(resnet18().state_dict(), tmp_path / "r18.pth")
    torch.save(timm.create_model("test_vit").state_dict(), tmp_path / "vit.pth")
    return tmp_path


def build(weights, guide="torchvision:resnet18", file="r18.pth", **settings):
    values = {"guide": guide, "guide_weights": str(weights / file), "lambda_ci": 0.0, **settings}
    return build_regularizer(MiniResNet(num_classes=5).eval(), {"method": "guided", **values})


def test_loss_is_the_guidance_of_the_adapted_features(weights):
    guided = build(weights, lambda_guidance=2.0, stages_guidance=[3, 4], guide_size=64, view_mean=[0.5] * 3)
    view = torch.rand(2, 3, 32, 32)
    losses, _ = guided.step([view], lambda: {"loss_task": guided.student(view).mean()})
    network = resnet18().eval()
    network.load_state_dict(torch.load(weights / "r18.pth", weights_only=True))
    mean, std = (torch.tensor(v)[:, None, None] for v in ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225)))
    images = ((view * std + 0.5) - mean) / std
    x = F.interpolate(images, (64, 64), mode="bicubic", antialias=True)
    for part in (network.conv1, network.bn1, network.relu, network.maxpool, network.layer1, network.layer2):
        x = part(x)
    guide = network.layer4(network.layer3(x))
    maps = guided.taps[0].run(guided.student, view)
    for stage in (3, 4):
        adapted = guided.adapters[f"stage{stage}"](maps[stage])
        assert adapted.shape[1] == guide.shape[1] == 512
        resized = F.interpolate(guide, adapted.shape[-2:], mode="bilinear", align_corners=False)
        expected = 2 * guidance_loss(adapted, resized)
        torch.testing.assert_close(losses[f"loss_guidance_stage{stage}"], expected, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(("guide", "file"), [("torchvision:resnet18", "r18.pth"), ("timm:test_vit", "vit.pth")])
def test_student_and_adapter_are_trained_and_the_guide_is_not(guide, file, weights):
    guided = build(weights, guide, file)
    before = copy.deepcopy(guided.reference.state_dict())
    guided.train()
    view = torch.rand(2, 3, 64, 64)
    losses, _ = guided.step([view], lambda: {"loss_task": guided.student(view).mean()})
    losses["loss_guidance_stage4"].backward()
    assert guided.student.conv1.weight.grad.abs().sum() > 0
    assert guided.adapters["stage4"].weight.grad.abs().sum() > 0
    assert all(p.grad is None and not p.requires_grad for p in guided.reference.parameters())
    assert all(torch.equal(value, before[name]) for name, value in guided.reference.state_dict().items())


def test_a_transformer_of_timm_takes_images_of_any_shape_in_its_own_normalisation(weights):
    encoder = GuideEncoder("timm:test_vit", str(weights / "vit.pth"), (0.485, 0.456, 0.406), (0.229, 0.224, 0.225))
    plain = timm.create_model("test_vit", dynamic_img_size=True).eval()
    plain.load_state_dict(torch.load(weights / "vit.pth", weights_only=True))
    pixels = torch.rand(2, 3, 96, 64)
    view = (pixels - torch.tensor([0.485, 0.456, 0.406])[:, None, None]) / torch.tensor([0.229, 0.224, 0.225])[
        :, None, None
    ]
    cfg = plain.pretrained_cfg
    own = (pixels - torch.tensor(cfg["mean"])[:, None, None]) / torch.tensor(cfg["std"])[:, None, None]
    tokens = plain.forward_features(own)[:, plain.num_prefix_tokens :]
    expected = tokens.transpose(1, 2).unflatten(2, (6, 4))
    torch.testing.assert_close(encoder(view), expected, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize(
    ("guide", "file", "error", "message"),
    [
        ("", "r18.pth", ValueError, "guide must be source:model.*without another guide use the method gcisg"),
        (
            "tim:test_vit",
            "vit.pth",
            ValueError,
            r"unknown source of a guide \(source:model\) 'tim'. Did you mean 'timm'",
        ),
        ("timm:test_vitt", "vit.pth", ValueError, "unknown model of timm 'test_vitt'. Did you mean 'test_vit"),
        ("timm:test_vit", "r18.pth", ValueError, "timm's test_vit"),
        ("timm:test_vit", "none.pth", FileNotFoundError, r"guide_weights .*none.pth' .*it has: r160_in1k"),
        ("torchvision:resnet18", "none.pth", FileNotFoundError, "none.pth': no such file"),
        ("torchvision:resnet81", "r18.pth", ValueError, "unknown torchvision guide 'resnet81'. Did you mean"),
    ],
)
def test_what_cannot_be_had_is_named(guide, file, error, message, weights):
    with pytest.raises(error, match=message):
        build(weights, guide, file)


@pytest.mark.remedy("guide_weights {}: no such file. Give a state dict file of {}")
def test_the_file_of_a_guide_that_is_not_there_is_given(weights):
    with pytest.raises(FileNotFoundError, match=r"none.pth': no such file. Give a state dict file of resnet18"):
        build(weights, "torchvision:resnet18", "none.pth")
    build(weights, "torchvision:resnet18", "r18.pth")


def test_without_a_net_the_message_says_which_file_to_give(weights, monkeypatch):
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")

    def offline(*_, **__):
        raise OSError("no network")

    monkeypatch.setattr("timm.models._builder.load_state_dict_from_hf", offline)
    monkeypatch.setattr("timm.models._builder.load_state_dict_from_url", offline)
    with pytest.raises(FileNotFoundError, match="could not be loaded .*no network.* give the file as guide_weights"):
        build_regularizer(MiniResNet(num_classes=5), {"method": "guided", "guide": "timm:test_vit"})
