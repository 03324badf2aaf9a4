"""Stages of networks that the code was not written for: where they are, and that a tap reads what it should."""

import pytest
import timm
import torch
import torchvision
from torch import nn

from gcisg_core.feature_tap import find_stages, make_tap
from gcisg_core.probe import token_grid

IMAGES = torch.rand(2, 3, 224, 224, generator=torch.Generator().manual_seed(0))
# Network -> stage 3, stage 4 and the shapes of their maps.
TORCHVISION = {
    "mobilenet_v2": ("features.13", "features.18", (96, 14, 14), (1280, 7, 7)),
    "mobilenet_v3_small": ("features.8", "features.11", (48, 14, 14), (96, 7, 7)),
    "efficientnet_b0": ("features.5.2", "features.8", (112, 14, 14), (1280, 7, 7)),
    "convnext_tiny": ("features.5.8", "features.7.2", (384, 14, 14), (768, 7, 7)),
    "regnet_y_400mf": ("trunk_output.block3.block3-5", "trunk_output.block4.block4-5", (208, 14, 14), (440, 7, 7)),
    "densenet121": ("features.denseblock3", "features.norm5", (1024, 14, 14), (1024, 7, 7)),
    "swin_t": ("tokens(features.5.5)", "tokens(features.7.1)", (384, 14, 14), (768, 7, 7)),
}
TIMM = {
    "resnet18": ("layer3", "layer4", (256, 14, 14), (512, 7, 7)),
    "tf_efficientnet_lite0": ("blocks.4", "blocks.6", (112, 14, 14), (320, 7, 7)),
    "convnext_atto": ("stages.2", "stages.3", (160, 14, 14), (320, 7, 7)),
    "swin_tiny_patch4_window7_224": ("tokens(layers.2)", "tokens(layers.3)", (384, 14, 14), (768, 7, 7)),
    "vit_tiny_patch16_224": ("tokens(blocks.7)", "tokens(norm)", (192, 14, 14), (192, 14, 14)),
    "vit_small_patch16_dinov3": ("tokens(blocks.7)", "tokens(norm)", (384, 14, 14), (384, 14, 14)),
}


def build(library, name):
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return torchvision.models.get_model(name) if library == "torchvision" else timm.create_model(name)


@pytest.mark.parametrize(
    ("library", "name", "third", "fourth", "shapes"),
    [
        (library, name, third, fourth, shapes)
        for library, networks in (("torchvision", TORCHVISION), ("timm", TIMM))
        for name, (third, fourth, *shapes) in networks.items()
    ],
)
def test_of_torchvision_and_timm(library, name, third, fourth, shapes):
    network = build(library, name)
    found = find_stages(network)
    assert (found[3], found[4]) == (third, fourth)
    tap = make_tap(network, [3, 4])
    network.eval()
    with torch.no_grad():
        maps = tap.run(network, IMAGES[:1])
    assert [tuple(maps[stage].shape[1:]) for stage in (3, 4)] == shapes
    assert tap.channels(network) == {3: shapes[0][0], 4: shapes[1][0]}


def test_the_network_and_the_random_state_are_as_before():
    class Drawing(nn.Module):
        """Draws and counts in eval mode too."""

        def __init__(self):
            super().__init__()
            self.blocks = nn.ModuleList(
                nn.Sequential(nn.Conv2d(width, 2 * width, 3, 2, 1), nn.BatchNorm2d(2 * width)) for width in (3, 6, 12)
            )
            self.register_buffer("passes", torch.zeros(()))

        def forward(self, images):
            self.passes += 1
            for block in self.blocks:
                images = block(images) + torch.rand(1)
            return images

    network = Drawing()
    network.blocks[1].eval()
    before = {name: value.clone() for name, value in network.state_dict().items()}
    state, modes = torch.get_rng_state(), [module.training for module in network.modules()]
    assert find_stages(network) == {2: "blocks.0", 3: "blocks.1", 4: "blocks.2"}
    assert torch.equal(torch.get_rng_state(), state)
    assert [module.training for module in network.modules()] == modes
    assert all(torch.equal(value, before[name]) for name, value in network.state_dict().items())
    assert not any(module._forward_hooks or module._forward_pre_hooks for module in network.modules())


class Transformer(nn.Module):
    """A plain ViT: two tokens that are no patches, then patches of 8 x 8 pixels, row by row."""

    def __init__(self, depth=6, width=4):
        super().__init__()
        self.patches = nn.Conv2d(3, width, 8, 8)
        self.blocks = nn.ModuleList(nn.Sequential(nn.Linear(width, width)) for _ in range(depth))

    def forward(self, images):
        tokens = self.patches(images).flatten(2).transpose(1, 2)
        tokens = torch.cat([torch.full_like(tokens[:, :2], 9.0), tokens], dim=1)
        for block in self.blocks:
            tokens = tokens + block(tokens)
        return tokens[:, 0]


def test_tokens_become_maps_of_their_patches_without_the_class_tokens():
    network, images = Transformer(), torch.rand(2, 3, 32, 56)
    for block in network.blocks:
        nn.init.eye_(block[0].weight)
        nn.init.zeros_(block[0].bias)
    assert find_stages(network) == {2: "tokens(blocks.1)", 3: "tokens(blocks.3)", 4: "tokens(blocks.5)"}
    maps = make_tap(network, [3]).run(network, images)[3]
    torch.testing.assert_close(maps, 8 * network.patches(images))


def test_the_tokens_of_a_map_keep_their_gradient():
    network = Transformer()
    tap = make_tap(network, [3])
    with tap.collect(network) as features:
        network(torch.rand(1, 3, 32, 32))
    features[3].sum().backward()
    assert network.patches.weight.grad.abs().sum() > 0


@pytest.mark.parametrize(
    ("tokens", "size", "grid"),
    [
        (197, (224, 224), (14, 14)),  # a class token
        (261, (224, 224), (16, 16)),  # DINOv2's with four registers
        (100, (128, 160), (9, 11)),  # patches of 14 that do not fill the image
        (64 * 128, (1024, 2048), (64, 128)),
        (50000, (224, 224), None),
    ],
)
def test_the_grid_of_tokens(tokens, size, grid):
    assert token_grid(tokens, size) == grid


def test_the_pretrained_network_inside_a_wrapper_is_meant():
    class Wrapper(nn.Module):
        def __init__(self):
            super().__init__()
            self.bottom_up = torchvision.models.mobilenet_v3_small().features
            self.lateral = nn.Conv2d(576, 4, 1)

        def forward(self, images):
            return {"p5": self.lateral(self.bottom_up(images))}

    found = find_stages(Wrapper())
    assert found[4] == "bottom_up.11"


def test_what_takes_no_image_says_so():
    class Talker(nn.Module):
        def __init__(self):
            super().__init__()
            self.layer = nn.Linear(3, 3)

        def forward(self, images, text):
            return self.layer(text)

    with pytest.raises(ValueError, match=r"Talker are not known, and no black image passes .*text.*stage_locations"):
        find_stages(Talker())
