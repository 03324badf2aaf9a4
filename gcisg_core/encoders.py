"""The networks beside the student: projectors, the averaged target, the frozen reference (GCISG, Fig. 1)."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.utils.fusion import fuse_conv_bn_weights
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

from gcisg_core.feature_tap import Features, StageTap


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
        projected: Tensor = self[f"stage{stage}"](pooled)
        return F.normalize(projected.float() if projected.dtype != torch.float64 else projected)


class FrozenModule(nn.Module):
    """A module without gradients that neither `train()` nor an optimiser changes."""

    def freeze(self) -> None:
        self.requires_grad_(False)
        self.eval()

    def train(self, mode: bool = True) -> FrozenModule:
        """Stays in eval mode: the running statistics of a frozen network are part of it."""
        return super().train(False)


class TargetEncoder(nn.Module):
    """f̄_s and h_i: an exponential moving average of the student's backbone, and the projectors as they were at first.

    After each optimiser step, parameters become ``decay * target + (1 - decay) * student``. Only parameters are
    averaged: BatchNorm buffers follow the student's, and in the forward pass each layer is in the student's mode.

    Args:
        student: The backbone; copied.
        projectors: Their initial state is copied and kept for ever.
        tap: Says which stages are wanted.
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
        self.requires_grad_(False)
        self.capture(student)

    @torch.no_grad()
    def capture(self, student: nn.Module) -> None:
        """Take the student's weights as they are."""
        self.average.module.load_state_dict(student.state_dict())
        # With a count of 0 the first update would copy the student instead of averaging.
        self.average.n_averaged.fill_(1)

    def update(self, student: nn.Module) -> None:
        """One step of the average; to be called after each optimiser step."""
        self.average.update_parameters(student)

    @torch.no_grad()
    def forward(self, images: Tensor, student: nn.Module) -> Features:
        """Stage outputs of the averaged backbone for (B, 3, H, W) images, each layer in the student's mode."""
        for mine, theirs in zip(self.average.module.modules(), student.modules(), strict=True):
            mine.training = theirs.training
        return self.tap.run(self.average.module, images)


class ReferenceEncoder(FrozenModule):
    """f_r: the pretrained backbone, frozen, in eval mode for ever.

    The BatchNorm layers of ResNets are folded into the convolutions before them: the same function, in fewer passes
    over memory.

    Args:
        student: The backbone, copied.
        tap: Says which stages are wanted.
    """

    def __init__(self, student: nn.Module, tap: StageTap) -> None:
        super().__init__()
        self.tap = tap
        self.encoder = fold_batch_norm(copy.deepcopy(student))
        self.freeze()

    @torch.no_grad()
    def capture(self, student: nn.Module) -> None:
        """Take the student's weights as they are."""
        self.encoder.load_state_dict(fold_batch_norm(copy.deepcopy(student)).state_dict())

    @torch.no_grad()
    def forward(self, images: Tensor) -> Features:
        """Stage outputs for (B, 3, H, W) images."""
        return self.tap.run(self.encoder, images)


def fold_batch_norm(backbone: nn.Module) -> nn.Module:
    """Fold the frozen BatchNorm layers of a ResNet into its convolutions, in place; other networks stay as they are.

    Knows the ResNets of torchvision and MMSegmentation, in which a convolution and its normalisation are neighbours
    (``conv1, bn1``), and those of Detectron2, in which the convolution owns it (``conv1.norm``). Layers that are no
    plain BatchNorm (IBN, GroupNorm) are left alone.
    """
    if not any("ResNet" in base.__name__ for base in type(backbone).__mro__):
        return backbone
    for module in list(backbone.modules()):
        norm = getattr(module, "norm", None)
        if isinstance(module, nn.Conv2d) and is_batch_norm(norm):
            _fold(module, norm)
            setattr(module, "norm", None)  # noqa: B010 - convolutions of torch declare no such attribute
        previous: nn.Module | None = None
        for name, child in list(module.named_children()):
            if isinstance(previous, nn.Conv2d) and is_batch_norm(child):
                _fold(previous, child)
                setattr(module, name, nn.Identity())
            previous = child
    return backbone


def is_batch_norm(module: object) -> bool:
    """Whether it is a plain BatchNorm layer of torch or Detectron2, frozen, synchronised or not."""
    # Detectron2's FrozenBatchNorm2d has the same four tensors and its own base class. Synchronised layers are meant
    # too: mmengine converts a model's layers after it is built, and the reference must be the same before and after.
    return isinstance(module, nn.BatchNorm2d | nn.SyncBatchNorm) or type(module).__name__ == "FrozenBatchNorm2d"


def _fold(conv: nn.Conv2d, norm: Any) -> None:
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
