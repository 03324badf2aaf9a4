"""torchvision's DeepLabV3 head for MMSegmentation."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from mmseg.models.decode_heads.decode_head import BaseDecodeHead
from mmseg.registry import MODELS
from torch import Tensor, nn
from torchvision.models.segmentation.deeplabv3 import DeepLabHead


@MODELS.register_module()
class TorchvisionDeepLabHead(BaseDecodeHead):
    """The DeepLabV3 head of torchvision, which the CSG authors' code calls DeepLabV2.

    It differs from mmseg's ``ASPPHead`` in two points: the branches are joined by a 1 x 1 convolution, with dropout of
    0.5 after it, and a 3 x 3 convolution follows. All of them have 256 channels.

    Args:
        dilations: Dilations of the three 3 x 3 branches.
        **kwargs: Arguments of mmseg's class, except ``channels``, ``dropout_ratio``, ``norm_cfg`` and ``init_cfg``,
            which have no effect on torchvision's layers.
    """

    def __init__(self, dilations: Sequence[int] = (12, 24, 36), **kwargs: Any) -> None:
        super().__init__(channels=256, dropout_ratio=0, init_cfg=None, **kwargs)
        *features, self.conv_seg = DeepLabHead(self.in_channels, self.out_channels, dilations)
        self.features = nn.Sequential(*features)

    def forward(self, inputs: Sequence[Tensor]) -> Tensor:
        """Class scores (B, classes, h, w) from the backbone's maps."""
        result: Tensor = self.cls_seg(self.features(self._transform_inputs(inputs)))
        return result
