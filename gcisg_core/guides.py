"""Guides other than the student's pretrained copy."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
import torchvision
from torch import Tensor, nn

from gcisg_core.encoders import FrozenModule
from gcisg_core.feature_tap import make_tap
from gcisg_core.lookup import choose, unknown_name
from gcisg_core.safe_load import read_state_dict

IMAGENET_MEAN, IMAGENET_STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)


class GuideNetwork(nn.Module):
    """A network with its input normalisation; subclasses return the last feature map in :meth:`forward`.

    Args:
        network: Takes normalised RGB images (B, 3, H, W).
        mean, std: The normalisation, for colours in [0, 1].
    """

    def __init__(self, network: nn.Module, mean: Sequence[float], std: Sequence[float]) -> None:
        super().__init__()
        self.network, self.mean, self.std = network, tuple(mean), tuple(std)


class _TorchvisionGuide(GuideNetwork):
    def __init__(self, network: nn.Module) -> None:
        super().__init__(network, IMAGENET_MEAN, IMAGENET_STD)
        self.tap = make_tap(network, [4])

    def forward(self, images: Tensor) -> Tensor:
        return self.tap.run(self.network, images)[4]


def torchvision_guide(name: str, weights: str) -> GuideNetwork:
    """A classifier of torchvision.

    Args:
        name: ``resnet101``, ``convnext_tiny``, ...
        weights: A state dict file; it is required, nothing is downloaded.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: the name is unknown.
    """
    known = torchvision.models.list_models(torchvision.models)
    if name not in known:
        raise unknown_name(name, known, "torchvision guide")
    if not Path(weights).is_file():
        raise FileNotFoundError(f"guide_weights {weights!r}: no such file. Give a state dict file of {name}")
    network = torchvision.models.get_model(name, weights=None)
    network.load_state_dict(read_state_dict(weights))
    return _TorchvisionGuide(network)


# Source -> builder from the model's name and a weights file; integrations add theirs.
GUIDES: dict[str, Callable[[str, str], GuideNetwork]] = {"torchvision": torchvision_guide}


class GuideEncoder(FrozenModule):
    """A frozen guide that takes the student's views.

    Args:
        name: ``source:model``, a source of :data:`GUIDES`.
        weights: A file; the meaning of an empty name depends on the source.
        view_mean, view_std: Normalisation of the student's views, for RGB in [0, 1].
        size: Size in pixels to which the views are resized; 0 keeps their size.

    Raises:
        ValueError: the source or the model is unknown.
    """

    scale: Tensor
    shift: Tensor

    def __init__(self, name: str, weights: str, view_mean: Any, view_std: Any, size: int = 0) -> None:
        super().__init__()
        source, _, model = name.partition(":")
        self.guide = choose(GUIDES, source, "source of a guide (source:model)")(model, weights)
        self.size = size
        # From the views' normalisation to the guide's in one step: x * scale + shift.
        view_mean, view_std, mean, std = (
            torch.tensor(values)[:, None, None] for values in (view_mean, view_std, self.guide.mean, self.guide.std)
        )
        self.register_buffer("scale", view_std / std, persistent=False)
        self.register_buffer("shift", (view_mean - mean) / std, persistent=False)
        self.freeze()

    @torch.no_grad()
    def forward(self, images: Tensor) -> Tensor:
        """The guide's last feature map (B, C, h, w) for the student's views (B, 3, H, W)."""
        if self.size:
            images = F.interpolate(images, (self.size, self.size), mode="bicubic", antialias=True)
        features: Tensor = self.guide(images * self.scale + self.shift)
        return features
