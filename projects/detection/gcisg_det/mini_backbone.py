"""A residual network with one block a stage and an FPN: what the miniature can pretrain and train in a minute."""

from __future__ import annotations

from detectron2.config import CfgNode
from detectron2.layers import ShapeSpec
from detectron2.modeling import BACKBONE_REGISTRY
from detectron2.modeling.backbone import FPN
from detectron2.modeling.backbone.fpn import LastLevelMaxPool
from detectron2.modeling.backbone.resnet import BasicBlock, BasicStem, ResNet

WIDTHS = (32, 64, 128, 256)


def build_mini_resnet(cfg: CfgNode, input_shape: ShapeSpec) -> ResNet:
    """Detectron2's ResNet with strides 4 to 32; `MODEL.RESNETS.NORM` and `MODEL.BACKBONE.FREEZE_AT` hold."""
    norm, channels, stages = cfg.MODEL.RESNETS.NORM, WIDTHS[0], []
    for number, width in enumerate(WIDTHS):
        stride = [2 if number else 1]
        stages.append(
            ResNet.make_stage(
                BasicBlock, 1, stride_per_block=stride, in_channels=channels, out_channels=width, norm=norm
            )
        )
        channels = width
    names = [f"res{number + 2}" for number in range(len(WIDTHS))]
    network = ResNet(BasicStem(input_shape.channels, WIDTHS[0], norm=norm), stages, out_features=names)
    return network.freeze(cfg.MODEL.BACKBONE.FREEZE_AT)


@BACKBONE_REGISTRY.register()
def build_mini_resnet_fpn_backbone(cfg: CfgNode, input_shape: ShapeSpec) -> FPN:
    """An FPN on :func:`build_mini_resnet`."""
    bottom_up = build_mini_resnet(cfg, input_shape)
    return FPN(bottom_up, cfg.MODEL.FPN.IN_FEATURES, cfg.MODEL.FPN.OUT_CHANNELS, top_block=LastLevelMaxPool())
