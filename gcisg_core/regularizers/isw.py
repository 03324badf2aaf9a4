"""Instance selective whitening (RobustNet, CVPR 2021): covariances that change with the style are suppressed."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from gcisg_core.config import Settings, require, require_stages
from gcisg_core.feature_tap import Features, make_tap
from gcisg_core.ibn import normalised_stages
from gcisg_core.padding import mask_at
from gcisg_core.precision import full_precision
from gcisg_core.queue import gather_rows
from gcisg_core.regularizers.base import Regularizer, Terms

EPSILON = 1e-5  # of torch's InstanceNorm2d, which RobustNet uses


@dataclass(frozen=True)
class ISWSettings(Settings):
    """Settings of instance selective whitening; the defaults are those of RobustNet's ResNet-50 on GTAV.

    Attributes:
        lambda_isw: Weight; 0 turns it off.
        stages: Stages 0 to 4 that are whitened: stem and the first two residual stages.
        clusters: k of the k-means over the covariances' variances; all but the lowest cluster are suppressed.
        warmup_steps: Steps without the loss: 5 epochs of GTAV's 12,403 training images in batches of 16.
        statistics_steps: The last steps of the warm-up, in which the variances are collected: about as many images
            as GTAV's validation part, which RobustNet uses.
    """

    lambda_isw: float = 0.6
    stages: tuple[int, ...] = (0, 1, 2)
    clusters: int = 3
    warmup_steps: int = 3875
    statistics_steps: int = 400

    def __post_init__(self) -> None:
        super().__post_init__()
        require(self.lambda_isw >= 0, "lambda_isw", self.lambda_isw, "at least 0")
        require_stages("stages", self.stages)
        require(bool(self.stages), "stages", self.stages, "at least one stage")
        require(self.clusters > 1, "clusters", self.clusters, "at least 2")
        require(self.statistics_steps > 0, "statistics_steps", self.statistics_steps, "at least 1")
        require(
            self.warmup_steps >= self.statistics_steps,
            "warmup_steps",
            self.warmup_steps,
            f"at least statistics_steps = {self.statistics_steps}",
        )

    @property
    def views_needed(self) -> int:
        return 2


class ISW(Regularizer):
    """L_task + lambda mean over stages and images of |Sigma * M|_1 / |M|_1 (Eq. 12 to 16).

    Sigma is the covariance of the channels after instance standardisation; M holds those of its off-diagonal entries
    whose variance under a photometric change of the image is high. The variance is the mean over images of a quarter
    of the squared difference between the covariances of both views, collected at the end of the warm-up.

    Where it departs from the paper: the features are standardised in the loss alone; ``changes: {ibn: isw}`` also
    puts the instance normalisations into the network, as RobustNet does (see `docs/methods.md`). The statistics come
    from training images, with BatchNorm in the student's mode.

    Forward passes a step beside the task's: student (without gradient) on the other view, in ``statistics_steps``
    steps only; later none, and the second view is drawn but not used.

    Source: RobustNet (Choi et al., CVPR 2021), Section 4.3.

    Shape:
        ``variance_stage<l>``, ``mask_stage<l>`` (C, C), upper triangles; ``step_number`` a scalar.
    """

    settings_class: ClassVar[type[Settings]] = ISWSettings
    settings: ISWSettings
    step_number: Tensor

    def __init__(self, student: nn.Module, settings: ISWSettings) -> None:
        super().__init__(student, settings)
        self.tap = make_tap(student, settings.stages, settings.stage_locations or normalised_stages(student))
        self.taps[settings.task_view] = self.tap
        self.register_buffer("step_number", torch.zeros((), dtype=torch.long))
        self._step: int | None = None  # the same number without a wait for the device
        for stage, channels in self.tap.channels(student).items():
            for name in ("variance", "mask"):
                self.register_buffer(f"{name}_stage{stage}", torch.zeros(channels, channels))

    def forward(self, views: Sequence[Tensor], features: Sequence[Features], mask: Tensor | None = None) -> Terms:
        s = self.settings
        step = int(self.step_number) if self._step is None else self._step
        self._step = step + 1
        self.step_number.fill_(step + 1)
        if step < s.warmup_steps:
            if step >= s.warmup_steps - s.statistics_steps:
                self._collect(views[1 - s.task_view], features[s.task_view], mask)
            return Terms({}, {})
        if step == s.warmup_steps:
            self._select()
        losses, metrics = [], {}
        for stage, maps in features[s.task_view].items():
            chosen = self.get_buffer(f"mask_stage{stage}")
            size = covariance(maps, mask_at(mask, maps)).abs()
            losses.append((size * chosen).sum(dim=(1, 2)).mean() / chosen.sum().clamp(min=1))
            metrics[f"isw_share_stage{stage}"] = chosen.sum() / max(1, len(chosen) * (len(chosen) - 1) / 2)
        return Terms({"loss_isw": s.lambda_isw * torch.stack(losses).mean()}, metrics)

    @torch.no_grad()
    def _collect(self, other: Tensor, features: Features, mask: Tensor | None) -> None:
        """Add a batch's variances of the covariances, averaged over the ranks."""
        for stage, maps in self.tap.run(self.student, other).items():
            inside = mask_at(mask, maps)
            difference = covariance(features[stage], inside) - covariance(maps, inside)
            variance = (difference.square() / 4).mean(dim=0)
            total = self.get_buffer(f"variance_stage{stage}")
            total += gather_rows(variance.flatten().unsqueeze(0)).mean(dim=0).view_as(total)

    @torch.no_grad()
    def _select(self) -> None:
        for stage in self.settings.stages:
            variance, chosen = (self.get_buffer(f"{name}_stage{stage}") for name in ("variance", "mask"))
            rows, columns = torch.ones_like(variance).triu(diagonal=1).nonzero(as_tuple=True)
            sensitive = ~in_lowest_cluster(variance[rows, columns], self.settings.clusters)
            chosen[rows, columns] = sensitive.to(chosen)


def covariance(features: Tensor, mask: Tensor | None = None) -> Tensor:
    """Covariance (B, C, C) of the channels of (B, C, H, W) after instance standardisation; padding is left out."""
    with torch.autocast(features.device.type, enabled=False):
        values = full_precision(features).flatten(2)
        inside = torch.ones_like(values[:, :1]) if mask is None else mask.flatten(1).unsqueeze(1).to(values)
        count = inside.sum(dim=2, keepdim=True).clamp(min=2)
        centred = (values - (values * inside).sum(dim=2, keepdim=True) / count) * inside
        variance = centred.square().sum(dim=2, keepdim=True) / count
        standard = centred / (variance + EPSILON).sqrt()
        return standard @ standard.mT / (count - 1)


def in_lowest_cluster(values: Tensor, clusters: int, groups: int = 2048) -> Tensor:
    """Whether each of the values (N,) is in the lowest of their clusters by k-means.

    On a line the optimum can be found: clusters are ranges of the sorted values, and dynamic programming tries all
    cuts. Above ``groups`` values, cuts are tried between that many groups of equal size only.
    """
    order = values.double().sort().values.cpu()
    edges = torch.linspace(0, len(order), min(groups, len(order)) + 1).round().long()
    sums, squares = (F.pad(v.cumsum(0), (1, 0))[edges] for v in (order, order.square()))
    count = (edges - edges[:, None]).clamp(min=1)
    # cost[i, j]: squared distances to their mean of the values from edge i to edge j.
    cost = (squares - squares[:, None]) - (sums - sums[:, None]).square() / count
    cost.masked_fill_(edges <= edges[:, None], torch.inf)
    best, cuts = cost[0], []
    for _ in range(1, clusters):
        best, cut = (best[:, None] + cost).min(dim=0)
        cuts.append(cut)
    position = len(edges) - 1
    for cut in reversed(cuts):
        position = int(cut[position])
    return values <= order[edges[position] - 1].to(values)
