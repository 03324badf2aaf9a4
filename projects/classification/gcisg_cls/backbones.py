"""Backbones of torchvision's form, and their pretrained weights."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any
from urllib.error import URLError

import torch
import torchvision
from torch import Tensor, nn

from gcisg_core.initial_weights import LEAST_MATCH, load_initial_weights
from gcisg_core.lookup import unknown_name
from gcisg_core.safe_load import read_state_dict
from gcisg_suite.miniature.network import MiniResNet

_OWN: dict[str, Callable[[], nn.Module]] = {"mini_resnet": lambda: MiniResNet(num_classes=1)}


def build_resnet(name: str) -> tuple[nn.Module, int]:
    """A ResNet that returns its pooled features (B, C) instead of class scores, and C.

    Args:
        name: A ResNet of torchvision (``resnet101``), or ``mini_resnet`` of the miniature benchmark.

    Raises:
        ValueError: the name is unknown.
    """
    known = [*torchvision.models.list_models(include=["res*", "wide_res*"]), *_OWN]
    if name not in known:
        raise unknown_name(name, known, "backbone")
    network: Any = _OWN[name]() if name in _OWN else torchvision.models.get_model(name)
    channels: int = network.fc.in_features
    network.fc = nn.Identity()
    return network, channels


def load_pretrained(backbone: nn.Module, name: str, weights: str, least_match: float = LEAST_MATCH) -> None:
    """Load pretrained weights, all but the classifier's, into a network of :func:`build_resnet`.

    Args:
        backbone: Changed in place.
        name: What it was built from.
        weights: A weights file of any origin, or torchvision's name of the weights (``IMAGENET1K_V1``).
        least_match: See :func:`gcisg_core.initial_weights.load_initial_weights`.

    Raises:
        FileNotFoundError: the weights cannot be had; says which file to put where.
        ValueError: they belong to another network.
    """
    load_initial_weights(backbone, read_weights(name, weights), weights, least_match)


def read_weights(name: str, weights: str) -> dict[str, Tensor]:
    """The state dict behind ``weights``, the original classifier included; see :func:`load_pretrained`."""
    if Path(weights).is_file():
        return read_state_dict(weights)
    known = {} if name in _OWN else torchvision.models.get_model_weights(name).__members__
    if weights not in known:
        raise FileNotFoundError(
            f"weights {weights!r} for {name}: no such file, and no weights of torchvision either "
            f"(those: {', '.join(known) or 'none'}). Give a state dict file or one of these names"
            + (". The miniature's are made by: python tools/prepare_mini.py" if name in _OWN else "")
        )
    url = known[weights].url
    cached = Path(torch.hub.get_dir()) / "checkpoints" / Path(url).name
    if cached.is_file():
        return read_state_dict(cached)  # torch verifies what it downloads, not what it kept
    try:
        downloaded: dict[str, Tensor] = known[weights].get_state_dict(check_hash=True)
    except (URLError, OSError) as error:
        raise FileNotFoundError(
            f"weights {weights!r} for {name} could not be downloaded ({error}). Put {url} into {cached.parent}, or "
            f"give its path as model.weights"
        ) from error
    return downloaded
