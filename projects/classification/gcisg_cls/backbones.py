"""Backbones of torchvision and timm, and their pretrained weights.

A backbone is the library's own network with an `nn.Identity` in place of its classifier. Its tensors have the
library's names, and it returns the classifier's input, (B, C).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from gcisg_cls import torchvision_networks
from gcisg_core.guides import IMAGENET_MEAN, IMAGENET_STD
from gcisg_core.initial_weights import MIN_MATCH_RATIO, load_initial_weights
from gcisg_core.integrations import timm as timm_networks
from gcisg_core.lookup import choose


class Plain(NamedTuple):
    """How a backbone is called and built in its library.

    Attributes:
        library: ``torchvision`` or ``timm``.
        arch: Its name there.
        options: Keyword arguments for the library's builder.
        classifier: Path of the removed classifier.
        mean, std: Normalisation of its images, for RGB in [0, 1].
        size: Edge of the images in pixels if it takes only one size, else None.
        multiple: The edges of its images must be multiples of this.
        convolution: Whether its classifier is a 1 x 1 convolution of pooled maps (B, C, 1, 1), as in timm's DLA.
    """

    library: str
    arch: str
    options: dict[str, Any]
    classifier: str
    mean: tuple[float, ...] = IMAGENET_MEAN
    std: tuple[float, ...] = IMAGENET_STD
    size: int | None = None
    multiple: int = 1
    convolution: bool = False

    @property
    def normalises_otherwise(self) -> bool:
        return (self.mean, self.std) != (IMAGENET_MEAN, IMAGENET_STD)


def build_backbone(name: str, options: Mapping[str, Any] | None = None) -> tuple[nn.Module, int]:
    """A network that returns its pooled features (B, C) of ImageNet-normalised images instead of class scores, and C.

    If the library's weights need another normalisation, the network converts to it from ImageNet's. Its attribute
    ``plain`` is a :class:`Plain`.

    Args:
        name: A ResNet of torchvision (``resnet101``), or ``mini_resnet`` of the miniature benchmark; or
            ``torchvision:NAME``, ``timm:NAME``, any classifier of these.
        options: Keyword arguments of the library's builder (``{"img_size": 384}``).

    Raises:
        ValueError: the name or an option is unknown, or the network has no linear classifier.
        ImportError: timm is not installed.
    """
    library, _, arch = name.rpartition(":")
    build = choose(_BUILDERS, library, "library of a backbone (library:name)")
    network, plain, channels = build(arch, dict(options or {}))
    network.plain = plain
    if plain.size:
        network.img_size = plain.size  # where gcisg_core.probe looks for it
    if plain.normalises_otherwise or plain.size or plain.multiple > 1:
        mean, std, own_mean, own_std = (
            torch.tensor(values)[:, None, None] for values in (IMAGENET_MEAN, IMAGENET_STD, plain.mean, plain.std)
        )
        network.register_buffer("input_scale", std / own_std, persistent=False)
        network.register_buffer("input_shift", (mean - own_mean) / own_std, persistent=False)
        network.register_forward_pre_hook(_take_images)
    return network, channels


def _take_images(network: Any, inputs: tuple[Tensor]) -> tuple[Tensor]:
    """ImageNet-normalised images in the form that a network needs; an error names the sizes that it takes."""
    images, plain = inputs[0], network.plain
    edges = tuple(images.shape[-2:])
    if (plain.size and edges != (plain.size, plain.size)) or any(edge % plain.multiple for edge in edges):
        wanted = f"{plain.size} x {plain.size}" if plain.size else f"edges that are multiples of {plain.multiple}"
        raise ValueError(
            f"backbone {plain.library}:{plain.arch} takes images of {wanted} pixels, got {edges[0]} x {edges[1]}: set "
            f"`size` in the pipelines of train, val and test, or the network's own option in model.backbone_options"
        )
    return (images * network.input_scale + network.input_shift,) if plain.normalises_otherwise else inputs


def _build_resnet(arch: str, options: dict[str, Any]) -> tuple[Any, Plain, int]:
    network, path, channels = torchvision_networks.build(arch, options, any_classifier=False)
    return network, Plain("torchvision", arch, options, path), channels


def _build_torchvision(arch: str, options: dict[str, Any]) -> tuple[Any, Plain, int]:
    network, path, channels = torchvision_networks.build(arch, options)
    mean, std = torchvision_networks.statistics(arch)
    size = torchvision_networks.fixed_size(network, options)
    return network, Plain("torchvision", arch, options, path, mean, std, size), channels


def _build_timm(arch: str, options: dict[str, Any]) -> tuple[Any, Plain, int]:
    network: Any = timm_networks.create(arch, options, seed=None)
    if not network.pretrained_cfg["num_classes"] and getattr(network, "num_prefix_tokens", False):
        # A foundation model (DINOv3) without a classifier of its own: a classifier reads its class token.
        options.setdefault("global_pool", "token")
        network = timm_networks.create(arch, options, seed=None)
    path = network.pretrained_cfg.get("classifier")
    if not isinstance(path, str):
        raise ValueError(
            f"backbone timm:{arch} has {'several classifiers' if path else 'no classifier'}; choose another"
        )
    dynamic = getattr(network, "dynamic_img_size", False)
    used = {"dynamic_img_size": True, **options} if dynamic else options
    mean, std = (tuple(network.pretrained_cfg[name]) for name in ("mean", "std"))
    padded = not dynamic or getattr(network.patch_embed, "dynamic_img_pad", False)
    multiple = 1 if padded else network.patch_embed.patch_size[0]
    size, convolution = timm_networks.fixed_size(network), timm_networks.ends_in_convolution(network, path)
    plain = Plain("timm", arch, used, path, mean, std, size, multiple, convolution)
    return network, plain, getattr(network, "head_hidden_size", None) or network.num_features


_BUILDERS = {"": _build_resnet, "torchvision": _build_torchvision, "timm": _build_timm}


def plain_of(network: Any) -> Plain:
    """The :class:`Plain` of a network of :func:`build_backbone`."""
    plain: Plain = network.plain
    return plain


def plain_network(plain: Plain, head: nn.Module) -> nn.Module:
    """The library's own network with a head as its classifier; it takes images in its own normalisation."""
    network, _ = build_backbone(f"{plain.library}:{plain.arch}", plain.options)
    network._forward_pre_hooks.clear()
    network.set_submodule(plain.classifier, convolutional(head) if plain.convolution else head)
    return network


def convolutional(head: nn.Module) -> nn.Module:
    """A head of linear layers as 1 x 1 convolutions, with the same names and newly initialised weights."""
    if isinstance(head, nn.Linear):
        return nn.Conv2d(head.in_features, head.out_features, 1)
    return nn.Sequential(*map(convolutional, head)) if isinstance(head, nn.Sequential) else head


def load_pretrained(
    backbone: nn.Module,
    name: str,
    weights: str,
    min_match_ratio: float = MIN_MATCH_RATIO,
    options: Mapping[str, Any] | None = None,
) -> None:
    """Load pretrained weights, all but the classifier's, into a network of :func:`build_backbone`.

    Args:
        backbone: Changed in place.
        name: The name that it was built from.
        weights: A weights file from anywhere, or the library's name of the weights (``IMAGENET1K_V1`` of torchvision,
            ``lvd142m`` of timm, ``DEFAULT`` for its default), which come from the library's cache or the network.
        min_match_ratio: See :func:`gcisg_core.initial_weights.load_initial_weights`.
        options: The options that it was built with.

    Raises:
        FileNotFoundError: the weights could not be loaded; the message says which file to put where.
        ValueError: they belong to another network.
    """
    load_initial_weights(backbone, read_weights(name, weights, options), weights, min_match_ratio)


def read_weights(name: str, weights: str, options: Mapping[str, Any] | None = None) -> dict[str, Tensor]:
    """The state dict behind ``weights``, the original classifier included; see :func:`load_pretrained`."""
    library, _, arch = name.rpartition(":")
    if library == "timm":
        return timm_networks.read_weights(arch, weights, options=options)
    return torchvision_networks.read_weights(arch, weights, options)
