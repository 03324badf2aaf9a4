"""The auxiliary networks of a method: projectors, momentum encoder, frozen reference (GCISG, Fig. 1)."""

from __future__ import annotations

import copy
from collections.abc import Iterable, Mapping, Sequence
from itertools import zip_longest
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.utils.fusion import fuse_conv_bn_weights
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

from gcisg_core.feature_tap import Features, StageTap
from gcisg_core.precision import full_precision

_COUNTER = "num_batches_tracked"
# Classes of torch, mmcv and Detectron2 that only convolve or normalise; by name, since the core imports no
# framework. Their subclasses may do more: mmcv's ConvWS2d standardises weights, timm's BatchNormAct2d has a ReLU.
_CONVOLUTIONS = ("Conv2d",)
_BATCH_NORMS = ("BatchNorm2d", "SyncBatchNorm", "NaiveSyncBatchNorm", "_BatchNormXd", "FrozenBatchNorm2d")


class Projector(nn.Sequential):
    """h_s: Linear(C, C), ReLU, Linear(C, dim); (N, C) -> (N, dim), not normalised."""

    def __init__(self, channels: int, dim: int = 128) -> None:
        super().__init__(nn.Linear(channels, channels), nn.ReLU(inplace=True), nn.Linear(channels, dim))


class StageProjectors(nn.ModuleDict):
    """A projector for each stage.

    Args:
        channels: Stage -> C.
        dim: Length of an embedding.
    """

    def __init__(self, channels: Mapping[int, int], dim: int = 128) -> None:
        super().__init__({f"stage{stage}": Projector(width, dim) for stage, width in channels.items()})

    def embed(self, stage: int, pooled: Tensor) -> Tensor:
        """Unit embeddings (N, dim) of pooled features (N, C), in float32 under autocast too."""
        return F.normalize(full_precision(self[f"stage{stage}"](pooled)))


@torch.no_grad()
def follow(average: AveragedModel, model: nn.Module) -> None:
    """`average.update_parameters(model)` without its check whether the average has started.

    That check reads a value from the device, so it would wait for the whole previous step.
    """
    assert average.multi_avg_fn is not None
    pairs = zip(average.module.parameters(), model.parameters(), strict=True)
    mine, theirs = zip(*pairs, strict=True)
    average.multi_avg_fn(mine, theirs, average.n_averaged)
    for own, other in zip(average.module.buffers(), model.buffers(), strict=True):
        own.copy_(other)
    average.n_averaged += 1


class FrozenModule(nn.Module):
    """A module without gradients that neither `train()` nor an optimiser changes."""

    def freeze(self) -> None:
        self.requires_grad_(False)
        self.eval()

    def train(self, mode: bool = True) -> FrozenModule:
        """Stays in eval mode: the running statistics of a frozen network are part of it."""
        return super().train(False)


class MomentumEncoder(nn.Module):
    """f̄_s and h_i: an exponential moving average of the student's backbone, and the projectors' initial state.

    After each optimiser step, parameters become ``decay * own + (1 - decay) * student``. Only parameters are
    averaged: BatchNorm buffers follow the student's, and in the forward pass each layer is in the student's mode.

    Args:
        student: The backbone; copied.
        projectors: Their initial state is copied and never changes.
        tap: Defines the stages that are read.
        decay: m, in [0, 1].

    Raises:
        ValueError: ``decay`` is outside [0, 1].

    Source: GCISG (ECCV 2022), Section 3.1.
    """

    def __init__(self, student: nn.Module, projectors: StageProjectors, tap: StageTap, decay: float = 0.996) -> None:
        super().__init__()
        if not 0 <= decay <= 1:
            raise ValueError(f"decay must be in [0, 1], got {decay}")
        self.average = AveragedModel(student, multi_avg_fn=get_ema_multi_avg_fn(decay))
        self.projectors = copy.deepcopy(projectors)
        self.tap = tap
        self._compared = False
        self.requires_grad_(False)
        self.capture(student)

    @torch.no_grad()
    def capture(self, student: nn.Module) -> None:
        """Take the student's weights as they are.

        Raises:
            ValueError: the student is another network than at the construction.
        """
        copy_weights(student, self.average.module)
        # With a count of 0 the first update would copy the student instead of averaging.
        self.average.n_averaged.fill_(1)

    def update(self, student: nn.Module) -> None:
        """Update the average. Call it after each optimiser step.

        Raises:
            ValueError: the student's parameters have changed since the construction.
        """
        if not self._compared:  # parameters are averaged in their order
            mine, theirs = (dict(net.named_parameters()).keys() for net in (self.average.module, student))
            if [*mine] != [*theirs]:
                first = next(name for name, other in zip_longest(mine, theirs) if name != other)
                raise ValueError(
                    f"the parameters of {type(student).__name__} were changed after the method was built, at {first}. "
                    f"Change the backbone before, or convert the whole model with the method in it"
                )
            self._compared = True
        follow(self.average, student)

    @torch.no_grad()
    def forward(self, images: Tensor, student: nn.Module) -> Features:
        """Stage outputs of the averaged backbone for (B, 3, H, W) images, each layer in the student's mode."""
        for mine, theirs in zip(self.average.module.modules(), student.modules(), strict=True):
            mine.training = theirs.training
        return self.tap.run(self.average.module, images)


class ReferenceEncoder(FrozenModule):
    """f_r: the pretrained backbone, frozen, always in eval mode.

    In ResNets, BatchNorm layers are folded into the convolutions before them: the same function with fewer memory
    accesses. The layers are chosen here, by name, so a framework may convert the layers of the whole model (for
    example to SyncBatchNorm and back) between the construction and :meth:`capture`.

    Args:
        student: The backbone, copied.
        tap: Says which stages are wanted.
    """

    def __init__(self, student: nn.Module, tap: StageTap) -> None:
        super().__init__()
        self.tap = tap
        self.folded = foldable_pairs(student, tap.locations.values())
        self.encoder = fold_batch_norm(copy.deepcopy(student), self.folded)
        self.freeze()

    @torch.no_grad()
    def capture(self, student: nn.Module) -> None:
        """Take the student's weights as they are.

        Raises:
            ValueError: the student is another network than at the construction.
        """
        copy_weights(fold_batch_norm(copy.deepcopy(student), self.folded), self.encoder)

    @torch.no_grad()
    def forward(self, images: Tensor) -> Features:
        """Stage outputs for (B, 3, H, W) images."""
        return self.tap.run(self.encoder, images)


def copy_weights(source: nn.Module, goal: nn.Module) -> None:
    """Copy parameters and buffers by name. Counters of batches may be absent: frozen BatchNorm has none.

    Raises:
        ValueError: the networks differ in another name.
    """
    result = goal.load_state_dict(source.state_dict(), strict=False)
    names = [name for name in (*result.missing_keys, *result.unexpected_keys) if not name.endswith(_COUNTER)]
    if names:
        raise ValueError(
            f"the backbone {type(source).__name__} was changed after the method was built: {', '.join(names[:3])} "
            f"({len(names)} names differ). Change it before, or convert the whole model with the method in it"
        )


def is_batch_norm(module: object) -> bool:
    """Whether the module is plain BatchNorm of torch, mmengine or Detectron2; it may be frozen or synchronised."""
    return type(module).__name__ in _BATCH_NORMS


def foldable_pairs(backbone: nn.Module, tapped: Iterable[object] = ()) -> list[tuple[str, str]]:
    """The convolutions of a ResNet, each with the BatchNorm layer that can be folded into it, by name.

    Knows the ResNets of torchvision and MMSegmentation, in which a convolution and its normalisation are neighbours
    (``conv1, bn1``), and those of Detectron2, in which the convolution owns it (``conv1.norm``).

    Other networks are not folded, nor layers that are not plain BatchNorm (IBN, GroupNorm), BatchNorm without running
    statistics, layers with hooks, and convolutions whose output is tapped.

    Args:
        backbone: As it was built.
        tapped: Names of the modules whose outputs are read.
    """
    if not any("ResNet" in base.__name__ for base in type(backbone).__mro__):
        return []
    pairs = []
    for path, module in backbone.named_modules():
        prefix = f"{path}." if path else ""
        if _is_plain(module, _CONVOLUTIONS) and _has_statistics(getattr(module, "norm", None)):
            pairs.append((path, f"{prefix}norm"))
        previous, before = None, ""
        for name, child in module.named_children():
            if _is_plain(previous, _CONVOLUTIONS) and _has_statistics(child) and before not in tapped:
                pairs.append((before, f"{prefix}{name}"))
            previous, before = child, f"{prefix}{name}"
    return pairs


def _is_plain(module: Any, names: Sequence[str]) -> bool:
    return type(module).__name__ in names and not (module._forward_hooks or module._forward_pre_hooks)


def _has_statistics(module: Any) -> bool:
    return _is_plain(module, _BATCH_NORMS) and getattr(module, "running_mean", None) is not None


def fold_batch_norm(backbone: nn.Module, pairs: Sequence[tuple[str, str]] | None = None) -> nn.Module:
    """Fold BatchNorm layers, in eval mode, into the convolutions before them, in place.

    Args:
        backbone: Changed.
        pairs: Names of convolutions and their BatchNorm layers, all of :func:`foldable_pairs` by default; a pair that
            no longer qualifies is skipped.
    """
    modules = dict(backbone.named_modules())
    for conv, norm in foldable_pairs(backbone) if pairs is None else pairs:
        if conv in modules and getattr(modules.get(norm), "running_mean", None) is not None:
            _fold(modules[conv], modules[norm])
            backbone.set_submodule(norm, nn.Identity())
    return backbone


def _fold(conv: Any, norm: Any) -> None:
    weight, bias = fuse_conv_bn_weights(
        conv.weight,
        conv.bias,
        norm.running_mean,
        norm.running_var,
        norm.eps,
        norm.weight,
        norm.bias,
    )
    conv.weight, conv.bias = weight, bias
