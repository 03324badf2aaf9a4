"""The miniature's residual network in Detectron2, with an FPN."""

from __future__ import annotations

from itertools import chain

from detectron2.config import CfgNode
from detectron2.layers import FrozenBatchNorm2d, ShapeSpec
from detectron2.modeling import BACKBONE_REGISTRY
from detectron2.modeling.backbone import FPN, Backbone
from torch import Tensor

from gcisg_suite.miniature.network import WIDTHS, MiniResNet


class MiniResNetBottomUp(MiniResNet, Backbone):
    """`MiniResNet` without its classifier: (B, 3, H, W) -> `res2` to `res5` at strides 2, 4, 8, 16.

    Args:
        freeze_at: Stages whose weights stay as they are, counted from the stem (1), as `MODEL.BACKBONE.FREEZE_AT`.
    """

    def __init__(self, freeze_at: int = 0) -> None:
        super().__init__(num_classes=1)
        del self.fc
        stages = [[self.conv1, self.bn1], [self.layer1], [self.layer2], [self.layer3], [self.layer4]]
        for module in chain.from_iterable(stages[:freeze_at]):
            module.requires_grad_(False)

    def forward(self, images: Tensor) -> dict[str, Tensor]:
        return dict(zip(self.output_shape(), self.stages(images), strict=True))

    def output_shape(self) -> dict[str, ShapeSpec]:
        """Channels and stride of each output."""
        return {
            f"res{number + 2}": ShapeSpec(channels=width, stride=2 << number) for number, width in enumerate(WIDTHS)
        }


@BACKBONE_REGISTRY.register()
def build_mini_resnet_fpn_backbone(cfg: CfgNode, input_shape: ShapeSpec) -> FPN:
    """An FPN on `MiniResNet`.

    `MODEL.RESNETS.NORM` is `FrozenBN`, with the statistics of the weights, or anything else for trained ones.
    """
    bottom_up = MiniResNetBottomUp(cfg.MODEL.BACKBONE.FREEZE_AT)
    if cfg.MODEL.RESNETS.NORM == "FrozenBN":
        FrozenBatchNorm2d.convert_frozen_batchnorm(bottom_up)
    return FPN(bottom_up, cfg.MODEL.FPN.IN_FEATURES, cfg.MODEL.FPN.OUT_CHANNELS)
