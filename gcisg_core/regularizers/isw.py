"""Instance selective whitening (RobustNet, CVPR 2021): suppresses covariances that change with the style."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from gcisg_core.channels import in_rgb
from gcisg_core.config import Settings, require, require_stages
from gcisg_core.feature_tap import Features, StageLocation, in_eval_mode, make_tap
from gcisg_core.ibn import is_standardised, normalised_stages
from gcisg_core.padding import mask_at
from gcisg_core.precision import full_precision
from gcisg_core.queue import gather_rows
from gcisg_core.regularizers.base import Regularizer, Terms
from gcisg_core.views import PhotometricView

EPSILON = 1e-5  # of torch's InstanceNorm2d, which RobustNet uses


@dataclass(frozen=True)
class ISWSettings(Settings):
    """Settings of instance selective whitening; the defaults are those of RobustNet's ResNet-50 on GTAV.

    Attributes:
        lambda_isw: Weight; 0 turns it off.
        stages: Stages that are whitened, 0 to 4; by default the stem and the first two residual stages.
        clusters: k of the k-means over the covariances' variances; all but the lowest cluster are suppressed.
        warmup_steps: Steps without the loss: 5 epochs of GTAV's 12,403 training images in batches of 16.
        statistics_steps: The last steps of the warm-up, in which the variances are collected: about as many images
            as in GTAV's validation split, which the paper uses.
        statistics: ``views``: from the two views that are drawn, in the student's mode. ``strong``: from the task view
            and a strong change of it (jitter .8, .8, .8, .3 and a blur of sigma .15 to 1.3 pixels), in eval mode.
        trials: Parts into which the statistics steps are divided. Each part selects entries; those that all parts
            select are suppressed.
        entries: The clustered entries: ``triangle``, the covariances above the diagonal; ``matrix``, all C x C entries,
            including the zeros on and below the diagonal.
        pixel_mean, pixel_std: Normalisation of the backbone's inputs, for values in [0, 1], in the order of its
            channels; only ``strong`` needs them.
        pixel_bgr: Whether that order is BGR.
    """

    # The statistics of the authors' code: 10 trials of 500 images each, here in batches of 16.
    presets: ClassVar[Mapping[str, Mapping[str, Any]]] = {
        **Settings.presets,
        "robustnet": {"statistics": "strong", "trials": 10, "entries": "matrix", "statistics_steps": 320},
    }

    lambda_isw: float = 0.6
    stages: tuple[int, ...] = (0, 1, 2)
    clusters: int = 3
    warmup_steps: int = 3875
    statistics_steps: int = 400
    statistics: str = "views"
    trials: int = 1
    entries: str = "triangle"
    pixel_mean: tuple[float, ...] = (0.485, 0.456, 0.406)
    pixel_std: tuple[float, ...] = (0.229, 0.224, 0.225)
    pixel_bgr: bool = False

    def __post_init__(self) -> None:
        super().__post_init__()
        require(self.lambda_isw >= 0, "lambda_isw", self.lambda_isw, "at least 0")
        require_stages("stages", self.stages)
        require(bool(self.stages), "stages", self.stages, "at least one stage")
        require(self.clusters > 1, "clusters", self.clusters, "at least 2")
        require(self.statistics in ("views", "strong"), "statistics", self.statistics, "'views' or 'strong'")
        require(self.entries in ("triangle", "matrix"), "entries", self.entries, "'triangle' or 'matrix'")
        require(self.trials > 0, "trials", self.trials, "at least 1")
        require(
            self.statistics_steps >= self.trials,
            "statistics_steps",
            self.statistics_steps,
            f"at least trials = {self.trials}",
        )
        for name in ("pixel_mean", "pixel_std"):
            value = getattr(self, name)
            require(len(value) == 3 and all(v > 0 for v in value), name, value, "three numbers above 0")
        require(
            self.warmup_steps >= self.statistics_steps,
            "warmup_steps",
            self.warmup_steps,
            f"at least statistics_steps = {self.statistics_steps}",
        )

    @property
    def views_needed(self) -> int:
        return 2 if self.statistics == "views" else super().views_needed


class ISW(Regularizer):
    """L_task + lambda mean over stages and images of |Sigma * M|_1 / |M|_1 (Eq. 12 to 16).

    Sigma is the covariance of the channels after instance standardisation; M holds those of its off-diagonal entries
    whose variance under a photometric change of the image is high. The variance is the mean over images of a quarter
    of the squared difference between the covariances of both views, collected at the end of the warm-up. The preset
    ``robustnet`` has the statistics of the authors' code.

    Differences from the paper: the features are standardised only in the loss; ``backbone_plugins: {ibn: isw}``
    also puts the instance normalisations into the network, as RobustNet does (see `docs/methods.md`). The statistics
    come from the last training steps before the loss starts; RobustNet stops training to collect them.

    Extra forward passes per step: student (without gradient) on the other view (``strong``: on the task view and its
    change), only in the ``statistics_steps`` steps. Later there are none; a second view is drawn but not used.

    Source: RobustNet (Choi et al., CVPR 2021), Section 4.3.

    Shape:
        ``variance_stage<l>`` (sum of a trial) and ``mask_stage<l>``: (C, C), upper triangles; ``step_number``: scalar.
    """

    settings_class: ClassVar[type[Settings]] = ISWSettings
    settings: ISWSettings
    step_number: Tensor

    def __init__(self, student: nn.Module, settings: ISWSettings) -> None:
        super().__init__(student, settings)
        places = self.places(student, settings.stage_locations)
        if any(str(places.get(stage, "tokens(")).startswith("tokens(") for stage in settings.stages):
            raise ValueError(
                f"isw does not apply to {type(student).__name__}: it whitens the maps of convolutions at stages "
                f"{', '.join(map(str, settings.stages))}, and there are {places}. "
                f"Choose other stages, or another method"
            )
        self.tap = make_tap(student, settings.stages, places)
        self.taps[settings.task_view] = self.tap
        modules = dict(student.named_modules())
        self.standardised = {n: is_standardised(modules.get(str(place))) for n, place in self.tap.locations.items()}
        self.register_buffer("step_number", torch.zeros((), dtype=torch.long))
        self.strong = PhotometricView(0.8, 0.8, 0.8, 0.3, blur=1.0, sigma=(0.15, 1.3))
        self._range_known = False
        self._step: int | None = None  # the same number, readable without waiting for the device
        for stage, channels in self.tap.channels(student).items():
            for name in ("variance", "mask"):
                self.register_buffer(f"{name}_stage{stage}", torch.zeros(channels, channels))

    @classmethod
    def places(cls, student: nn.Module, given: Mapping[int, StageLocation] | None) -> Mapping[int, StageLocation]:
        """As given; by default after a normalisation, see :func:`gcisg_core.ibn.normalised_stages`."""
        return given or normalised_stages(student)

    def forward(self, views: Sequence[Tensor], features: Sequence[Features], mask: Tensor | None = None) -> Terms:
        s = self.settings
        step = int(self.step_number) if self._step is None else self._step
        self._step = step + 1
        self.step_number.fill_(step + 1)
        if step < s.warmup_steps:
            collected = step + 1 - (s.warmup_steps - s.statistics_steps)
            if collected > 0:
                self._collect(views, features[s.task_view], mask)
                trials = collected * s.trials // s.statistics_steps
                if trials > (collected - 1) * s.trials // s.statistics_steps:
                    self._select(first=trials == 1)
            return Terms({}, {})
        losses, metrics = [], {}
        for stage, maps in features[s.task_view].items():
            chosen = self.get_buffer(f"mask_stage{stage}")
            size = covariance(maps, mask_at(mask, maps), self.standardised[stage]).abs()
            losses.append((size * chosen).sum(dim=(1, 2)).mean() / chosen.sum().clamp(min=1))
            metrics[f"isw_share_stage{stage}"] = chosen.sum() / max(1, len(chosen) * (len(chosen) - 1) / 2)
        return Terms({"loss_isw": s.lambda_isw * torch.stack(losses).mean()}, metrics)

    @torch.no_grad()
    def _collect(self, views: Sequence[Tensor], features: Features, mask: Tensor | None) -> None:
        """Add a batch's variances of the covariances, averaged over the ranks."""
        s = self.settings
        if s.statistics == "views":
            changed = self.tap.run(self.student, views[1 - s.task_view])
        else:
            with in_eval_mode(self.student):
                features = self.tap.run(self.student, views[s.task_view])
                changed = self.tap.run(self.student, self._strongly_changed(views[s.task_view], mask))
        for stage, maps in changed.items():
            inside = mask_at(mask, maps)
            before, after = (covariance(m, inside, self.standardised[stage]) for m in (features[stage], maps))
            variance = ((before - after).square() / 4).mean(dim=0)
            total = self.get_buffer(f"variance_stage{stage}")
            total += gather_rows(variance.flatten().unsqueeze(0)).mean(dim=0).view_as(total)

    def _strongly_changed(self, images: Tensor, mask: Tensor | None) -> Tensor:
        """Change the style of normalised images (B, 3, H, W); the padding is not changed."""
        s = self.settings
        mean, std = (images.new_tensor(v, dtype=torch.float32)[:, None, None] for v in (s.pixel_mean, s.pixel_std))
        with torch.autocast(images.device.type, enabled=False):
            pixels = images.float() * std + mean
            if not self._range_known:  # only once, because it waits for the device
                low, high = (float(value) for value in pixels.aminmax())
                expected = f"those of the inputs, whose values would be in [{low:.2f}, {high:.2f}], not in [0, 1]"
                require(low > -0.05 and high < 1.05, "pixel_mean, pixel_std", (s.pixel_mean, s.pixel_std), expected)
                self._range_known = True
            changed = (in_rgb(self.strong, pixels.clamp(0, 1), s.pixel_bgr) - mean) / std
        return (changed if mask is None else torch.where(mask.unsqueeze(1), changed, images)).to(images)

    @torch.no_grad()
    def _select(self, first: bool) -> None:
        """Select the entries by a trial's variances, and start the next trial."""
        for stage in self.settings.stages:
            variance, chosen = (self.get_buffer(f"{name}_stage{stage}") for name in ("variance", "mask"))
            above = torch.ones_like(variance).triu(diagonal=1) > 0
            entries = above if self.settings.entries == "triangle" else torch.ones_like(above)
            sensitive = torch.zeros_like(above)
            sensitive[entries] = ~in_lowest_cluster((variance * above)[entries], self.settings.clusters)
            chosen.copy_(sensitive if first else sensitive & (chosen > 0))
            variance.zero_()


def covariance(features: Tensor, mask: Tensor | None = None, standardised: bool = False) -> Tensor:
    """Covariance (B, C, C) of the channels of (B, C, H, W) after instance standardisation; padding is left out.

    Args:
        features: (B, C, H, W).
        mask: (B, H, W), False in the padding.
        standardised: The features are already standardised, padding included.
    """
    with torch.autocast(features.device.type, enabled=False):
        values = full_precision(features).flatten(2)
        if standardised and mask is None:
            return values @ values.mT / (values.shape[2] - 1)
        inside = torch.ones_like(values[:, :1]) if mask is None else mask.flatten(1).unsqueeze(1).to(values)
        count = inside.sum(dim=2, keepdim=True).clamp(min=2)
        centred = (values - (values * inside).sum(dim=2, keepdim=True) / count) * inside
        variance = centred.square().sum(dim=2, keepdim=True) / count
        standard = centred / (variance + EPSILON).sqrt()
        return standard @ standard.mT / (count - 1)


def in_lowest_cluster(values: Tensor, clusters: int) -> Tensor:
    """Whether each of the values (N,) is in the lowest of their clusters by k-means; the optimum, in O(N log N).

    On a line, clusters are ranges of the sorted values: ``best[j]`` is the least cost of the first j of them, and the
    cut before the last cluster of them never moves down as j grows (Wang and Song, Ckmeans.1d.dp, 2011).
    """
    order = values.double().sort().values.cpu()
    centred = order - order.mean()  # otherwise the sums would suffer from cancellation
    sums, squares = (F.pad(v.cumsum(0), (1, 0)) for v in (centred, centred.square()))

    def cost(start: Tensor, end: Tensor) -> Tensor:
        return squares[end] - squares[start] - (sums[end] - sums[start]).square() / (end - start)

    count = len(order)
    ends = torch.arange(1, count + 1)
    best, cuts = F.pad(cost(torch.zeros_like(ends), ends), (1, 0)), []
    for _ in range(1, clusters):
        best, cut = _add_cluster(best, cost)
        cuts.append(cut)
    position = count
    for cut in reversed(cuts):
        position = int(cut[position]) or position  # 0: fewer different values than clusters
    return values <= order[position - 1].to(values)


def _add_cluster(best: Tensor, cost: Callable[[Tensor, Tensor], Tensor]) -> tuple[Tensor, Tensor]:
    """The least costs (N + 1,) with one more cluster, and its start: first for every second entry, then for all."""
    last = len(best) - 1
    least, cut = torch.zeros_like(best), torch.zeros(len(best), dtype=torch.long)
    step = 1 << last.bit_length()
    ends = torch.tensor([last])
    while True:
        # The known cuts of the neighbours bound the cut.
        low = cut[ends // (2 * step) * (2 * step)]
        above = ends // (2 * step) * (2 * step) + 2 * step
        high = torch.where(above <= last, cut[above.clamp(max=last)], cut[last] if step <= last else last - 1)
        high = torch.minimum(high, ends - 1)
        tried = high - low + 1
        row = torch.repeat_interleave(tried)
        start = torch.arange(len(row)) - (tried.cumsum(0) - tried)[row] + low[row]
        total = best[start] + cost(start, ends[row])
        least[ends] = torch.full_like(least[ends], torch.inf).scatter_reduce(0, row, total, "amin")
        optimal = total == least[ends][row]
        first = torch.full_like(ends, last).scatter_reduce(0, row[optimal], start[optimal], "amin")
        cut[ends] = first
        step //= 2
        if not step:
            return least, cut
        ends = torch.arange(step, last, 2 * step)
