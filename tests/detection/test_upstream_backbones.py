"""Backbones that Detectron2 0.5 of the package index lacks: run where upstream's main is installed, or on the path."""

from functools import partial

import pytest
import torch
from torch import nn

import gcisg_det  # noqa: F401  repairs Detectron2 before it is imported
from gcisg_core.feature_tap import StageTap
from gcisg_core.probe import image_sizes
from gcisg_core.stages import below_pyramid, find_stages

pytestmark = pytest.mark.detectron2_main


def regnet(names):
    from detectron2.modeling.backbone import regnet

    shape = {"depth": 22, "w_a": 24.48, "w_0": 24, "w_m": 2.54, "group_width": 16}  # RegNetX-400MF
    return regnet.RegNet(
        stem_class=regnet.SimpleStem, stem_width=32, block_class=regnet.ResBottleneckBlock, norm="BN",
        out_features=names, **shape,
    )  # fmt: skip


def swin(indices):
    from detectron2.modeling.backbone import SwinTransformer

    return SwinTransformer(
        embed_dim=12, depths=(1, 1, 2, 1), num_heads=(1, 2, 2, 4), window_size=4, out_indices=indices
    )


def mvit(names):
    from detectron2.modeling.backbone import MViT

    return MViT(embed_dim=8, depth=6, num_heads=1, last_block_indexes=(0, 1, 4, 5), out_features=names, img_size=224)


def fpn(build, names):
    from detectron2.modeling.backbone.fpn import FPN

    return FPN(build(names), names, 16)


def simple_pyramid():
    from detectron2.modeling.backbone import SimpleFeaturePyramid, ViT
    from detectron2.modeling.backbone.fpn import LastLevelMaxPool

    net = ViT(img_size=256, embed_dim=16, depth=6, num_heads=2, window_size=4, window_block_indexes=[0, 1, 3, 4],
              use_rel_pos=True, out_feature="last_feat")  # fmt: skip
    scales = {"scale_factors": (4.0, 2.0, 1.0, 0.5), "top_block": LastLevelMaxPool(), "norm": "LN", "square_pad": 256}
    return SimpleFeaturePyramid(net=net, in_feature="last_feat", out_channels=16, **scales)


SCALES = ("scale2", "scale3", "scale4", "scale5")
# Backbone -> stage 3, stage 4 and the strides of their maps.
BACKBONES = {
    "RegNet with FPN": (partial(fpn, regnet, ["s1", "s2", "s3", "s4"]), "s3", "s4", (16, 32)),
    "RegNet, last output": (partial(regnet, ["s4"]), "s3", "s4", (16, 32)),
    "Swin": (partial(swin, (0, 1, 2, 3)), "p2", "p3", (16, 32)),
    "Swin, last output": (
        partial(swin, (3,)), "tokens(layers.2.blocks.1)", "tokens(layers.3.blocks.0)", (16, 32),
    ),
    "MViT with FPN": (partial(fpn, mvit, SCALES), "scale4", "scale5", (16, 32)),
    "MViT, last output": (partial(mvit, ("scale5",)), "tokens(blocks.4)", "tokens(scale5_norm)", (16, 32)),
    "ViT with simple pyramid": (simple_pyramid, "tokens(blocks.3)", "tokens(blocks.5)", (16, 16)),
}  # fmt: skip


@pytest.mark.parametrize("name", BACKBONES)
def test_stages_are_found(name):
    build, third, fourth, strides = BACKBONES[name]
    torch.manual_seed(0)
    student = below_pyramid(build())
    places = find_stages(student)
    assert (places[3], places[4]) == (third, fourth)
    features, (height, width) = StageTap({stage: places[stage] for stage in (3, 4)}).look(student, image_sizes(student))
    for stage, stride in zip((3, 4), strides, strict=True):
        assert features[stage].shape[2:] == (height // stride, width // stride)


def test_a_plain_vit_with_its_pyramid_trains_under_the_method():
    from gcisg_core.regularizers import build_regularizer

    top = simple_pyramid()
    student = below_pyramid(top)
    assert isinstance(student, nn.Module)
    method = build_regularizer(student, {"method": "gcisg", "queue_length": 16, "embedding_dim": 8})
    views = [torch.rand(2, 3, 256, 256) for _ in range(2)]
    losses, _ = method.step(views, lambda: {"loss_task": sum(maps.square().mean() for maps in top(views[0]).values())})
    assert {f"loss_{term}_stage{stage}" for term in ("ci", "guidance") for stage in (3, 4)} <= losses.keys()
    sum(losses.values()).backward()
    assert student.patch_embed.proj.weight.grad.abs().sum() > 0
