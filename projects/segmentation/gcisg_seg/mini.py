"""The miniature benchmark's network as a backbone of MMSegmentation."""

from __future__ import annotations

from pathlib import Path

import torch
from mmseg.registry import MODELS
from torch import Tensor, nn

from gcisg_core.ibn import added_names
from gcisg_core.integrations.mmengine import check_state
from gcisg_miniature.network import MiniResNet


@MODELS.register_module()
class MiniResNetBackbone(MiniResNet):
    """`MiniResNet` without its classifier; its output stride is 8 as it is.

    Args:
        weights: State dict of the reference network; None for random weights.
        norm_eval: BatchNorm keeps its running statistics, as in mmseg's ResNet.

    Shape:
        (B, 3, H, W) -> four maps of 16, 32, 64, 128 channels at strides 2, 4, 8, 8.
    """

    def __init__(self, weights: str | None = None, norm_eval: bool = False) -> None:
        super().__init__(num_classes=1)
        del self.fc
        self.weights, self.norm_eval = weights, norm_eval

    def init_weights(self) -> None:
        """Called by the runner before training. Raises `FileNotFoundError` without the reference network."""
        if self.weights is None:
            return
        if not Path(self.weights).is_file():
            raise FileNotFoundError(f"{self.weights}: no such file. Make the miniature: python tools/prepare_mini.py")
        state = torch.load(self.weights, map_location="cpu", weights_only=True)
        state = {name: value for name, value in state.items() if not name.startswith("fc.")}
        check_state(self, state, self.weights, ignore=added_names(self))
        self.load_state_dict(state)

    def train(self, mode: bool = True) -> MiniResNetBackbone:
        super().train(mode)
        for module in self.modules():
            if self.norm_eval and isinstance(module, nn.BatchNorm2d):
                module.eval()
        return self

    def forward(self, images: Tensor) -> tuple[Tensor, ...]:
        features = self.relu(self.bn1(self.conv1(images)))
        maps = []
        for stage in (self.layer1, self.layer2, self.layer3, self.layer4):
            features = stage(features)
            maps.append(features)
        return tuple(maps)
