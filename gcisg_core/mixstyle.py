"""MixStyle: the statistics of features are mixed between the images of a batch (Zhou et al., ICLR 2021)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from gcisg_core.config import Settings, parse_settings, require, require_stages
from gcisg_core.feature_tap import make_tap

EPSILON = 1e-6


@dataclass(frozen=True)
class MixStyle(Settings):
    """A forward hook of a stage: in training, with probability p, mixes means and deviations of its channels.

    Each image's mean and standard deviation (over positions, no gradient) become a mixture with those of another
    image of the batch, weighted by a draw of Beta(alpha, alpha).

    It acts only where gradients are computed: a method's passes without gradients are not changed.

    Attributes:
        p: Probability that a step mixes.
        alpha: Parameter of the Beta distribution; small values take mostly one of the two styles.
        stages: The stages whose outputs are mixed.

    Source: MixStyle (Zhou et al., ICLR 2021), Eq. 3 to 6 and Section 3; p and alpha are the paper's.
    """

    p: float = 0.5
    alpha: float = 0.1
    stages: tuple[int, ...] = (1, 2)

    def __post_init__(self) -> None:
        super().__post_init__()
        require(0 <= self.p <= 1, "p", self.p, "a probability in [0, 1]")
        require(self.alpha > 0, "alpha", self.alpha, "above 0")
        require_stages("stages", self.stages)

    def __call__(self, module: nn.Module, inputs: Sequence[Any], features: Tensor) -> Tensor | None:
        if not module.training or not torch.is_grad_enabled() or torch.rand(()) >= self.p:
            return None
        share = torch.distributions.Beta(self.alpha, self.alpha).sample((len(features), 1, 1, 1)).to(features)
        return mix(features, torch.randperm(len(features)), share)


def mix(features: Tensor, partner: Tensor, share: Tensor) -> Tensor:
    """(B, C, H, W) features, with statistics mixed with those of ``features[partner]``; ``share``: own weight."""
    with torch.no_grad():
        variance, mean = torch.var_mean(features, dim=(2, 3), keepdim=True)
        deviation = (variance + EPSILON).sqrt()
    partner = partner.to(features.device)
    mixed_mean, mixed_deviation = (share * own + (1 - share) * own[partner] for own in (mean, deviation))
    return (features - mean) / deviation * mixed_deviation + mixed_mean


def add_mixstyle(backbone: nn.Module, values: Mapping[str, Any]) -> None:
    """Hook :class:`MixStyle` with these values to a backbone.

    Raises:
        ValueError: a value is unknown or out of range, or a stage is not a submodule of the backbone.
    """
    style = parse_settings(MixStyle, values)
    modules = dict(backbone.named_modules())
    for stage, place in make_tap(backbone, style.stages, style.stage_locations).locations.items():
        if place not in modules:
            raise ValueError(
                f"mixstyle: stage {stage} of {type(backbone).__name__} is not a submodule; its output cannot be mixed"
            )
        modules[str(place)].register_forward_hook(style)
