"""The small residual network of the miniature benchmark."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn
from torchvision.models.resnet import BasicBlock, ResNet


@contextmanager
def one_thread() -> Iterator[None]:
    """Sums do not depend on the number of cores then: machines of one processor train the same network."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(threads)


WIDTHS = (16, 48, 96, 192)
STRIDES = (1, 2, 2, 2)


class MiniResNet(ResNet):
    """torchvision's ResNet in small: 3 x 3 stem of stride 2, no max-pool, one BasicBlock a stage.

    Names of layers and `forward` are torchvision's, so whatever works with `resnet50` works with it. A 64 x 64 picture
    has 32, 16, 8 and 4 pixels a side after the four stages. Weights and maps lie in memory channels last, which takes a
    quarter of the time less on a CPU.

    Args:
        num_classes: outputs of `fc`.
        seed: of the initial weights (Kaiming normal, fan-out, as torchvision's); None draws from torch's global state.

    Shape:
        (B, 3, H, W) float, ImageNet-normalised -> (B, num_classes).
    """

    def __init__(self, num_classes: int, seed: int | None = 0) -> None:
        with torch.random.fork_rng(devices=[], enabled=seed is not None):
            if seed is not None:
                torch.manual_seed(seed)
            super().__init__(BasicBlock, [1, 1, 1, 1], num_classes=num_classes)
            self.inplanes = WIDTHS[0]
            self.conv1 = nn.Conv2d(3, WIDTHS[0], 3, stride=2, padding=1, bias=False)
            self.bn1 = nn.BatchNorm2d(WIDTHS[0])
            self.maxpool = nn.Identity()
            for number, (width, stride) in enumerate(zip(WIDTHS, STRIDES, strict=True), start=1):
                setattr(self, f"layer{number}", self._make_layer(BasicBlock, width, 1, stride))
            self.fc = nn.Linear(WIDTHS[-1], num_classes)
            for module in self.modules():
                if isinstance(module, nn.Conv2d):
                    nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")
            self.to(memory_format=torch.channels_last)

    def stages(self, images: Tensor) -> list[Tensor]:
        """The maps of the four stages: 16, 48, 96, 192 channels at strides 2, 4, 8, 16."""
        features = self.relu(self.bn1(self.conv1(images)))
        maps = []
        for stage in (self.layer1, self.layer2, self.layer3, self.layer4):
            features = stage(features)
            maps.append(features)
        return maps
