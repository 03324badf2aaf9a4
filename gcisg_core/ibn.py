"""IBN-Net: instance normalisation in the shallow stages of a ResNet (Pan et al., ECCV 2018).

The ResNets of torchvision, MMSegmentation and Detectron2 are converted in place. The layers keep the names and the
tensors of the BatchNorm layers that they replace, so each framework loads plain ImageNet weights into them as before.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from gcisg_core.encoders import is_batch_norm
from gcisg_core.feature_tap import RELU, StageLocation, find_stages
from gcisg_core.lookup import choose

logger = logging.getLogger(__name__)

# Kind -> whether the instance normalisations that `b` adds have weights; `a` adds none.
KINDS: dict[str, bool] = {"a": True, "b": True, "isw": False}
SHARE = "instance_share"  # the mark of an IBN-Net's layer in a state dict


class InstanceBatchNorm(nn.Module):
    """Instance normalisation of the first channels, batch normalisation of the others.

    It keeps the tensors of the layer that it replaces, and its kind (trained or frozen). The running statistics of
    the first channels are kept but not used. On several GPUs the batch part is not synchronised.

    Args:
        norm: A BatchNorm layer of torch or Detectron2.
        share: Share of the channels that are instance normalised.
        affine: Whether these channels have weight and bias.

    Shape:
        (B, C, H, W) -> the same.
    """

    weight: Tensor
    bias: Tensor
    running_mean: Tensor
    running_var: Tensor

    def __init__(self, norm: nn.Module, share: float, affine: bool = True) -> None:
        super().__init__()
        for name, parameter in norm.named_parameters(recurse=False):
            self.register_parameter(name, parameter)
        for name, buffer in norm.named_buffers(recurse=False):
            self.register_buffer(name, buffer)
        # Part of the state dict, so that weights trained with it are not mistaken for those of a plain network.
        self.register_buffer(SHARE, torch.tensor(share))
        self.channels = int(share * len(self.running_mean))
        self.affine = affine
        self.eps: float = getattr(norm, "eps")  # noqa: B009 - Detectron2's layer is no BatchNorm of torch
        self.momentum: float = getattr(norm, "momentum", None) or 0.0
        self.frozen = not isinstance(norm, _BatchNorm)
        self.training = norm.training

    def forward(self, images: Tensor) -> Tensor:
        n = self.channels
        weight, bias = (self.weight[:n], self.bias[:n]) if self.affine else (None, None)
        instance = F.instance_norm(images[:, :n], weight=weight, bias=bias, eps=self.eps)
        if n == images.shape[1]:
            return instance
        training = self.training and not self.frozen
        batch = F.batch_norm(
            images[:, n:],
            self.running_mean[n:],
            self.running_var[n:],
            self.weight[n:],
            self.bias[n:],
            training,
            self.momentum,
            self.eps,
        )
        return torch.cat([instance, batch], dim=1)

    def extra_repr(self) -> str:
        return f"{self.channels} of {len(self.running_mean)} channels instance normalised"


class _AddedInstanceNorm(nn.InstanceNorm2d):
    """A layer that plain networks do not have."""


class _EndsInInstanceNorm:
    """Mixin of a residual block: normalises the sum of branch and shortcut, before the last ReLU."""

    def forward(self, x: Tensor) -> Tensor:
        block: Any = self
        out = x
        for number in (1, 2, 3):
            conv = getattr(block, f"conv{number}", None)
            if conv is not None:
                out = conv(F.relu(out) if number > 1 else out)
                norm = _norm_of(block, number)
                out = out if norm[0] is conv else getattr(*norm)(out)  # Detectron2's convolution has applied it
        shortcut = getattr(block, "downsample", None) or getattr(block, "shortcut", None)
        return F.relu(block.IN(out + (shortcut(x) if shortcut else x)))


def convert_to_ibn(backbone: nn.Module, kind: str) -> None:
    """Convert a ResNet to an IBN-Net, in place.

    Args:
        backbone: A ResNet of torchvision, MMSegmentation or Detectron2, with BatchNorm, frozen or not.
        kind: ``a``: half of the channels after the first convolution of every block of stages 1 to 3. ``b``: the stem,
            and after the addition in the last block of stages 1 and 2. ``isw``: as ``b`` without weights, the network
            of RobustNet (Choi et al., CVPR 2021), for the method of that name.

    It loads plain weights (missing tensors are reported and keep their initial values), its own weights, and those
    published by IBN-Net's authors, in which ``a`` stores the two halves of a layer apart (``bn1.IN``, ``bn1.BN``).

    Raises:
        ValueError: the kind is unknown, or the network is none of these.

    Source: IBN-Net (Pan et al., ECCV 2018), Section 3.3 and Figure 3.
    """
    affine = choose(KINDS, kind, "kind of IBN-Net")
    blocks = {stage: _blocks(backbone, stage) for stage in (1, 2, 3)}
    if kind == "a":
        for block in (block for stage in blocks.values() for block in stage):
            _replace_norm(block, 1, 0.5)
    else:
        _replace_norm(getattr(backbone, "stem", backbone), 1, 1.0, affine)
        for stage in (1, 2):
            _end_in_instance_norm(blocks[stage][-1], affine)
    backbone._register_load_state_dict_pre_hook(_read, with_module=True)


def normalised_stages(backbone: nn.Module) -> dict[int, StageLocation]:
    """Find the stages of a backbone; in ResNets, where RobustNet whitens: after a normalisation, before the ReLU.

    Stage 0 is the last normalisation of the stem; 1 and 2 are the ones that ``b`` and ``isw`` add, where there are any.

    Raises:
        ValueError: as for :func:`gcisg_core.feature_tap.find_stages`.
    """
    places, modules = find_stages(backbone), dict(backbone.named_modules())
    stem: Any = getattr(backbone, "stem", backbone)
    if isinstance(stem, nn.Sequential):  # of ResNetV1c
        before = f"stem.{len(stem) - 2}"
    else:
        relu = RELU.fullmatch(str(places.get(0)))
        before = relu[1] if relu else getattr(backbone, "norm1_name", "bn1")
    if 0 in places and before in modules:
        places[0] = before
    for stage, place in places.items():
        last = [*modules[str(place)].named_children()][-1:] if place in modules else []
        if last and hasattr(last[0][1], "IN"):
            places[stage] = f"{place}.{last[0][0]}.IN"
    return places


def is_standardised(module: nn.Module | None) -> bool:
    """Whether a layer's outputs have mean 0 and variance 1 in every channel of an image: those of the kind ``isw``."""
    if isinstance(module, InstanceBatchNorm):
        return not module.affine and module.channels == len(module.running_mean)
    return isinstance(module, nn.InstanceNorm2d) and not module.affine


def added_names(backbone: nn.Module) -> tuple[str, ...]:
    """The names in a converted backbone's state dict that other weights may lack."""
    return tuple(_added_names(backbone))


def _added_names(backbone: nn.Module) -> Iterator[str]:
    for path, module in backbone.named_modules():
        if isinstance(module, InstanceBatchNorm):
            yield f"{path}.{SHARE}"
            if module.channels == len(module.running_mean):  # unused statistics
                yield from (f"{path}.{name}" for name, _ in module.named_buffers() if name != SHARE)
        elif isinstance(module, _AddedInstanceNorm):
            yield from (f"{path}.{name}" for name in module.state_dict())


def join_halves(state: Mapping[str, Tensor], prefix: str = "") -> dict[str, Tensor]:
    """Convert the layers of IBN-Net's ``a`` in a state dict to the form of :class:`InstanceBatchNorm`.

    ``X.IN.weight`` (h), ``X.BN.weight`` (C - h) and their like become ``X.weight`` (C), for names under ``prefix``;
    other tensors stay as they are. The statistics of the first h channels, which are not used, are 0 and 1.
    """
    ends = ("IN.weight", "IN.bias", *(f"BN.{name}" for name in ("weight", "bias", "running_mean", "running_var")))
    joined = dict(state)
    for layer in [name.removesuffix(ends[0]) for name in state if name.startswith(prefix) and name.endswith(ends[0])]:
        if not all(layer + end in state for end in ends):
            continue  # a layer of `b`, which has no second half
        first, first_bias, weight, bias, mean, variance = (torch.as_tensor(joined.pop(layer + end)) for end in ends)
        joined[f"{layer}weight"] = torch.cat([first, weight])
        joined[f"{layer}bias"] = torch.cat([first_bias, bias])
        joined[f"{layer}running_mean"] = torch.cat([torch.zeros_like(first), mean])
        joined[f"{layer}running_var"] = torch.cat([torch.ones_like(first), variance])
        joined[f"{layer}{SHARE}"] = torch.tensor(len(first) / (len(first) + len(weight)))
        if f"{layer}BN.num_batches_tracked" in joined:
            joined[f"{layer}num_batches_tracked"] = joined.pop(f"{layer}BN.num_batches_tracked")
    return joined


def ibn_layers(state: Mapping[str, Tensor]) -> dict[str, float]:
    """Return path -> instance-normalised share of the channels, for IBN-Net's layers in a joined state dict.

    The stem of the authors' ``b`` has no mark; the normalisations that ``b`` adds have none either, and a share of 1.
    """
    shares = {name.removesuffix(f".{SHARE}"): float(value) for name, value in state.items() if name.endswith(SHARE)}
    return shares | {name.removesuffix(".weight"): 1.0 for name in state if name.endswith(".IN.weight")}


def _read(module: nn.Module, state: dict[str, Any], prefix: str, *rest: Any) -> None:
    """Before loading: accept both forms of IBN-Net's weights; tensors that others lack are kept and reported."""
    joined = join_halves(state, prefix)
    for name in state.keys() - joined.keys():
        del state[name]
    state.update(joined)
    own = module.state_dict()
    theirs = ibn_layers({name[len(prefix) :]: value for name, value in state.items() if name.startswith(prefix)})
    shares = ibn_layers(own)
    errors: list[str] = rest[-1]
    for path, share in theirs.items():
        if share != shares.get(path, share):
            errors.append(f"{prefix}{path}: {share} of the channels are instance normalised, expected {shares[path]}")
    lacking = [name for name in added_names(module) if prefix + name not in state]
    state.update({prefix + name: own[name] for name in lacking})
    fresh = [name for name in lacking if name.endswith((".weight", ".bias"))]
    if not theirs and lacking:
        unused = [path for path, part in module.named_modules() if isinstance(part, InstanceBatchNorm)]
        logger.warning(
            "plain weights for an IBN-Net: %d of its %d tensors loaded; not used: the running statistics of the "
            "instance normalised channels of %d layers (%s, ...); not in the weights, so as initialised: %s",
            sum(prefix + name in state for name in own) - len(lacking),
            len(own) - len(lacking) + len(fresh),
            len(unused),
            unused[0],
            ", ".join(fresh) or "nothing",
        )
    elif fresh:
        logger.warning("not in the weights of an IBN-Net, so as initialised: %s", ", ".join(fresh))


def _blocks(backbone: nn.Module, stage: int) -> list[nn.Module]:
    classes = type(backbone).__mro__
    # timm's blocks may hold more than convolutions and normalisations.
    known = any("ResNet" in c.__name__ for c in classes) and not any(c.__module__.startswith("timm.") for c in classes)
    places = find_stages(backbone) if known else {}
    if stage not in places:
        raise ValueError(
            f"ibn does not apply to {type(backbone).__name__} of {classes[0].__module__.partition('.')[0]}: IBN-Net is "
            f"defined for the ResNets of torchvision, MMSegmentation and Detectron2, and this has no stage {stage} of "
            f"that form. Remove ibn from the backbone plugins"
        )
    return [*backbone.get_submodule(str(places[stage])).children()]


def _norm_of(block: Any, number: int) -> tuple[Any, str]:
    """Find the normalisation after a block's convolution: its parent module and its name there."""
    conv = getattr(block, f"conv{number}", None)
    if getattr(conv, "norm", None) is not None:
        return conv, "norm"
    return block, getattr(block, f"norm{number}_name", f"bn{number}")


def _replace_norm(block: Any, number: int, share: float, affine: bool = True) -> None:
    owner, name = _norm_of(block, number)
    norm = getattr(owner, name, None)
    if norm is None or not is_batch_norm(norm):
        raise ValueError(
            f"IBN-Net replaces BatchNorm layers, but {type(block).__name__} has {type(norm).__name__} as {name}. Use a "
            f"ResNet with BatchNorm and a plain stem (ResNet, not ResNetV1c, in MMSegmentation)"
        )
    setattr(owner, name, InstanceBatchNorm(norm, share, affine))


def _end_in_instance_norm(block: Any, affine: bool) -> None:
    special = [name for name in ("with_plugins", "with_cp", "with_dcn", "conv2_offset") if getattr(block, name, False)]
    if special:
        raise ValueError(f"IBN-Net b is not defined for {type(block).__name__} with {special[0]}; use kind a")
    last = block.conv3 if hasattr(block, "conv3") else block.conv2
    block.IN = _AddedInstanceNorm(last.out_channels, affine=affine)
    block.__class__ = type(f"{type(block).__name__}IBN", (_EndsInInstanceNorm, type(block)), {})
