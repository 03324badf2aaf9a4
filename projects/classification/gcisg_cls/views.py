"""From an image file to the tensors that the classifier takes; torchvision's transforms throughout."""

from __future__ import annotations

from typing import Any

import torch
from mmengine.registry import TRANSFORMS
from torch import Tensor
from torchvision.transforms import v2

from gcisg_core.config import require
from gcisg_core.views import RandAugment

# ImageNet's statistics, RGB in [0, 1], which every pretrained network of torchvision expects.
MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)


def _pixels(size: int, crop: str) -> list[Any]:
    require(crop in ("center", "random"), "crop", crop, "'center' or 'random'")
    cut = v2.CenterCrop(size) if crop == "center" else v2.RandomCrop(size)
    return [v2.Resize(size), cut, v2.ToImage(), v2.ToDtype(torch.float32, scale=True)]


@TRANSFORMS.register_module()
class TrainViews:
    """Independent draws of RandAugment, then resize and crop, for as many views as wanted.

    Args:
        size: Edge of the crop in pixels; the shorter edge of the image is resized to it first.
        views: How many; 2 for the causal invariance loss.
        crop: ``center`` or ``random``. No flips.
        randaugment: Arguments of :class:`gcisg_core.views.RandAugment`; N = 1, M = 6 by default.

    Shape:
        PIL image, RGB -> list of (3, size, size), normalised by ImageNet's statistics.

    Source: the protocol of CSG (ICLR 2021), which GCISG follows.
    """

    def __init__(
        self, size: int = 224, views: int = 2, crop: str = "random", randaugment: dict[str, Any] | None = None
    ) -> None:
        self.views = views
        self.transform = v2.Compose([RandAugment(**(randaugment or {})), *_pixels(size, crop), v2.Normalize(MEAN, STD)])

    def __call__(self, image: Any) -> list[Tensor]:
        return [self.transform(image) for _ in range(self.views)]


@TRANSFORMS.register_module()
class EvalView:
    """Resize and centre crop: PIL image, RGB -> (3, size, size), normalised by ImageNet's statistics.

    ``pixels`` and ``normalize`` are its two steps, with values in [0, 1] between them.
    """

    def __init__(self, size: int = 224) -> None:
        self.pixels = v2.Compose(_pixels(size, "center"))
        self.normalize = v2.Normalize(MEAN, STD)

    def __call__(self, image: Any) -> Tensor:
        result: Tensor = self.normalize(self.pixels(image))
        return result
