"""The classifiers of torchvision: how each is built, where its classifier is, and its weights by file or name."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any
from urllib.error import URLError

import torch
import torchvision
from torch import Tensor, nn
from torchvision.models.vision_transformer import VisionTransformer, interpolate_embeddings

from gcisg_core.lookup import unknown_name
from gcisg_core.safe_load import read_state_dict
from gcisg_core.shell import gcisg_command
from gcisg_suite.miniature.network import MiniResNet

_OWN: dict[str, Callable[[], nn.Module]] = {"mini_resnet": lambda: MiniResNet(num_classes=1)}
# Published weights of these take ImageNet's normalisation and change it inside; the second heads are for training.
_INCEPTION = {"aux_logits": False, "init_weights": False, "transform_input": True}
_OPTIONS: dict[str, dict[str, Any]] = {"googlenet": _INCEPTION, "inception_v3": _INCEPTION}


def build(arch: str, options: dict[str, Any], any_classifier: bool = True) -> tuple[Any, str, int]:
    """A network without its classifier, where that was, and how many features it read.

    Args:
        arch: A name of torchvision; ``mini_resnet`` too unless ``any_classifier``.
        options: Of the builder; completed in place.
        any_classifier: Whether networks other than ResNets are meant.

    Raises:
        ValueError: the name or an option is unknown, or the network has no linear classifier.
    """
    known = torchvision.models.list_models(torchvision.models, include=None if any_classifier else "res*")
    own = {} if any_classifier else _OWN
    if arch not in known and arch not in own:
        raise unknown_name(arch, [*known, *own], "backbone")
    if arch.startswith("mnasnet"):
        raise ValueError(
            f"backbone torchvision:{arch} needs a version number beside its tensors; choose timm:mnasnet_100 or another"
        )
    for option, value in _OPTIONS.get(arch, {}).items():
        options.setdefault(option, value)
    try:
        network = own[arch](**options) if arch in own else torchvision.models.get_model(arch, **options)
    except TypeError as error:
        raise ValueError(f"backbone torchvision:{arch} does not take {options}: {error}") from error
    path = next((path for path, module in reversed([*network.named_modules()]) if isinstance(module, nn.Linear)), "")
    if not path:
        raise ValueError(
            f"backbone torchvision:{arch} ends in a convolution, not in a linear classifier; choose another"
        )
    classifier: Any = network.get_submodule(path)
    network.set_submodule(path, nn.Identity())
    return network, path, classifier.in_features


def statistics(arch: str) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Mean and standard deviation of the images of the default weights."""
    transforms = torchvision.models.get_model_weights(arch).DEFAULT.transforms()
    return tuple(transforms.mean), tuple(transforms.std)


def fixed_size(network: Any, options: Mapping[str, Any]) -> int | None:
    """The only edge of images in pixels that it takes; None if it takes others too."""
    if isinstance(network, VisionTransformer):
        return network.image_size
    given = options.get("input_size", (224, 224))[0]
    return int(given) if type(network).__name__ == "MaxVit" else None


def read_weights(arch: str, weights: str, options: Mapping[str, Any] | None = None) -> dict[str, Tensor]:
    """The state dict behind a file or a name of weights, in the form that the network takes."""
    state = read_state_dict(weights) if Path(weights).is_file() else _named(arch, weights)
    if arch.startswith("densenet"):  # published under names with a dot more
        state = {re.sub(r"(denselayer\d+\.(?:norm|conv))\.([12])\.", r"\1\2.", key): state[key] for key in state}
    if arch in _OPTIONS:
        state = {key: value for key, value in state.items() if not key.startswith(("aux", "AuxLogits"))}
    if arch.startswith("vit_") and "encoder.pos_embedding" in state:
        network: Any = torchvision.models.get_model(arch, **(options or {}))
        state = dict(interpolate_embeddings(network.image_size, network.patch_size, state))
    return state


def _named(arch: str, weights: str) -> dict[str, Tensor]:
    known = {} if arch in _OWN else torchvision.models.get_model_weights(arch).__members__
    if weights not in known:
        raise FileNotFoundError(
            f"weights {weights!r} for {arch}: no such file, and torchvision has no weights of that name "
            f"(it has: {', '.join(known) or 'none'}). Give a state dict file or one of these names"
            + (f". The miniature's are made by: {gcisg_command('prepare')}" if arch in _OWN else "")
        )
    url = known[weights].url
    cached = Path(torch.hub.get_dir()) / "checkpoints" / Path(url).name
    if cached.is_file():
        return read_state_dict(cached)  # torch verifies what it downloads, not what it kept
    try:
        downloaded: dict[str, Tensor] = known[weights].get_state_dict(check_hash=True)
    except (URLError, OSError) as error:
        raise FileNotFoundError(
            f"weights {weights!r} for {arch} could not be downloaded ({error}). Put {url} into {cached.parent}, or "
            f"give its path as model.weights"
        ) from error
    return downloaded
