"""From an image file to the tensors that the classifier takes; torchvision's transforms throughout."""

from __future__ import annotations

from typing import Any

import torch
from mmengine.model import BaseDataPreprocessor
from mmengine.registry import MODELS, TRANSFORMS
from torch import Tensor
from torchvision.transforms import v2
from torchvision.transforms.v2 import functional as TF

from gcisg_core.config import Settings, require
from gcisg_core.guides import IMAGENET_MEAN, IMAGENET_STD
from gcisg_core.other_view import OtherView
from gcisg_core.views import PhotometricView, RandAugment

MEAN, STD = IMAGENET_MEAN, IMAGENET_STD  # which every pretrained network of torchvision expects


def _cut(size: int, crop: str) -> list[Any]:
    require(crop in ("center", "random"), "crop", crop, "'center' or 'random'")
    return [v2.Resize(size), v2.CenterCrop(size) if crop == "center" else v2.RandomCrop(size), v2.PILToTensor()]


@TRANSFORMS.register_module()
class TrainViews:
    """Independent draws of RandAugment, then resize and crop, for as many views as wanted.

    Args:
        size: Edge of the crop in pixels; the shorter edge of the image is resized to it first.
        views: How many. None leaves it to the method: :func:`gcisg_core.integrations.mmengine.load_config`, which the
            tools use, puts in what it needs; elsewhere two are drawn, enough for each method.
        crop: ``center`` or ``random``. No flips.
        randaugment: Arguments of :class:`gcisg_core.views.RandAugment`; N = 1, M = 6 by default.
        photometric: Arguments of :class:`gcisg_core.views.PhotometricView`, such as ``styles`` and ``pasta``, for a
            change of the cut image; None for none.

    Shape:
        PIL image, RGB -> list of (3, size, size), uint8.

    Source: the protocol of CSG (ICLR 2021), which GCISG follows.
    """

    def __init__(
        self,
        size: int = 224,
        views: int | None = None,
        crop: str = "random",
        randaugment: dict[str, Any] | None = None,
        photometric: dict[str, Any] | None = None,
    ) -> None:
        require(views is None or views >= 1, "views", views, "at least 1")
        self.views = 2 if views is None else views
        self.transform = v2.Compose([RandAugment(**(randaugment or {})), *_cut(size, crop)])
        self.photometric = None if photometric is None else PhotometricView(**photometric)

    def __call__(self, image: Any) -> list[Tensor]:
        return [self._draw(image) for _ in range(self.views)]

    def _draw(self, image: Any) -> Tensor:
        drawn: Tensor = self.transform(image)
        if self.photometric is None:
            return drawn
        changed = self.photometric(TF.to_dtype(drawn, torch.float32, scale=True).unsqueeze(0)).squeeze(0)
        return TF.to_dtype(changed, torch.uint8, scale=True)


@TRANSFORMS.register_module()
class EvalView:
    """Resize and centre crop: PIL image, RGB -> (3, size, size), uint8."""

    def __init__(self, size: int = 224) -> None:
        self.transform = v2.Compose(_cut(size, "center"))

    def __call__(self, image: Any) -> Tensor:
        result: Tensor = self.transform(image)
        return result


@MODELS.register_module()
class Normalizer(BaseDataPreprocessor):
    """Moves a batch to the model's device and normalises ``inputs``, one view or several, by ImageNet's statistics.

    In training it makes the other view of the task's where the method wants one in another style, see
    :mod:`gcisg_core.other_view`: of the drawn and cut image, so that the geometry is the same.
    """

    def __init__(self) -> None:
        super().__init__()
        self.follow(Settings())

    def follow(self, settings: Settings) -> None:
        """Make the views as a method's settings ask."""
        self.other, self.views = OtherView(settings), settings.views_needed

    def forward(self, data: dict[str, Any], training: bool = False) -> dict[str, Any]:
        data = self.cast_data(data)
        given = data["inputs"]
        if isinstance(given, Tensor):
            return {**data, "inputs": normalize(given)}
        if not training or self.other.own:
            return {**data, "inputs": [normalize(view) for view in given]}
        task = given[min(self.other.task_view, len(given) - 1)]  # the only one, where the data draw as many as asked
        # mmengine calls this inside autocast, in which the changes would lose precision.
        with torch.autocast(self.device.type, enabled=False):
            pixels = TF.to_dtype(task, torch.float32, scale=True)
            views = self.other.views(self.views, lambda _: normalize(task), lambda change: normalize(change(pixels)))
        return {**data, "inputs": views}


def normalize(images: Tensor) -> Tensor:
    """(..., 3, H, W), uint8 or floats in [0, 1], RGB -> floats as the pretrained networks expect them."""
    return TF.normalize(TF.to_dtype(images, torch.float32, scale=True), list(MEAN), list(STD))
