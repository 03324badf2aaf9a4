"""A forward pass whose activations are recomputed in the backward pass instead of kept."""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext

from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from gcisg_core.feature_tap import Features, StageTap
from gcisg_core.probe import same_buffers


def run_recomputed(tap: StageTap, backbone: nn.Module, images: Tensor) -> Features:
    """``tap.run(backbone, images)`` that keeps only the images and the stages for the backward pass.

    The second pass draws the same random numbers and does not update running statistics.
    """
    stages = sorted(tap.locations)

    def run(views: Tensor) -> tuple[Tensor, ...]:
        features = tap.run(backbone, views)
        return tuple(features[stage] for stage in stages)

    def contexts() -> tuple[AbstractContextManager[None], AbstractContextManager[None]]:
        return nullcontext(), same_buffers(backbone)

    maps = checkpoint(run, images, use_reentrant=False, context_fn=contexts)
    return dict(zip(stages, maps, strict=True))
