"""Domain randomisation and pyramid consistency (DRPC, ICCV 2019)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from gcisg_core.config import Settings, per_stage, require, require_stages
from gcisg_core.feature_tap import Features, make_tap
from gcisg_core.padding import mask_at, masked_mean
from gcisg_core.patches import pool_all_patches
from gcisg_core.precision import full_precision
from gcisg_core.regularizers.base import Regularizer, Terms


@dataclass(frozen=True)
class DRPCSettings(Settings):
    """Settings of the pyramid consistency; weights and stages are our choice and should be tuned.

    Attributes:
        lambda_across: Weight of the consistency across styles, one number or one for each stage; 0 turns it off.
        lambda_within: Weight of the consistency within an image, in the same form.
        stages: Stages that are compared, 0 to 4.
        pyramid: Cells along each side, for each level; levels with more cells than the map has positions are left out.
        smallest_crop: Smallest edge of a crop within an image, relative to the image's.
    """

    lambda_across: float | tuple[float, ...] = 1.0
    lambda_within: float | tuple[float, ...] = 1.0
    stages: tuple[int, ...] = (3, 4)
    pyramid: tuple[int, ...] = (1, 2, 4, 8)
    smallest_crop: float = 0.5

    def __post_init__(self) -> None:
        super().__post_init__()
        require_stages("stages", self.stages)
        require(
            bool(self.pyramid) and min(self.pyramid) == 1,
            "pyramid",
            self.pyramid,
            "numbers of patches per side, with 1",
        )
        require(0 < self.smallest_crop <= 1, "smallest_crop", self.smallest_crop, "in (0, 1]")

    @property
    def across(self) -> dict[int, float]:
        """Stage -> weight of the consistency across styles."""
        return per_stage("lambda_across", self.lambda_across, self.stages)

    @property
    def views_needed(self) -> int:
        return 2 if self.across else super().views_needed


class DRPC(Regularizer):
    """L_task + sum_l lambda_across |M_k - mean_k M_k|_1 + sum_l lambda_within |M(crop) - crop of M|_1.

    M_k are the student's features of the k-th style of an image, pooled in patches of several sizes; |.|_1 is the mean
    over images, styles, levels, patches and channels. Within an image, the features of a random crop that is enlarged
    to the image's size are compared to the same region of the whole image's features.

    The styles come from the views: give the project's views a folder of style images (``styles``, see
    :class:`gcisg_core.styles.RandomStyle`). Difference from the paper: there, networks (CycleGAN) make 15
    styles of an image before training; a step uses all of them and the image, each with the task's loss. Here, each
    step draws two styles, which change the statistics of the colours or the spectrum, and one has the task's loss.

    Extra forward passes per step: student on the other view, and on the crop.

    Source: DRPC (Yue et al., ICCV 2019), "pyramid consistency across domains" and "within an image".
    """

    settings_class: ClassVar[type[Settings]] = DRPCSettings
    settings: DRPCSettings

    def __init__(self, student: nn.Module, settings: DRPCSettings) -> None:
        super().__init__(student, settings)
        s = settings
        self.across = s.across
        self.within = per_stage("lambda_within", s.lambda_within, s.stages)
        if self.within:
            self.crop_tap = make_tap(student, [*self.within], s.stage_locations)
        if self.across or self.within:
            self.taps[s.task_view] = make_tap(student, [*self.across, *self.within], s.stage_locations)
        if self.across:
            tap = make_tap(student, [*self.across], s.stage_locations)
            self.taps[1 - s.task_view] = tap

    def forward(self, views: Sequence[Tensor], features: Sequence[Features], mask: Tensor | None = None) -> Terms:
        view = self.settings.task_view
        terms = Terms({}, {})
        for stage, weight in self.across.items():
            difference = self._distance(features[0][stage], features[1][stage], mask)
            # Half the difference of two values separates each from their mean.
            terms.losses[f"loss_drpc_across_stage{stage}"] = weight * difference / 2
        if self.within:
            box = random_box(self.settings.smallest_crop, views[view].device)
            inside = None if mask is None else crop(mask.unsqueeze(1).float(), box).squeeze(1) > 0.5
            cropped = self.crop_tap.run(self.student, crop(views[view], box))
            for stage, weight in self.within.items():
                region = crop(features[view][stage], box)
                terms.losses[f"loss_drpc_within_stage{stage}"] = weight * self._distance(cropped[stage], region, inside)
        return terms

    def _distance(self, first: Tensor, second: Tensor, mask: Tensor | None) -> Tensor:
        """Mean over the levels of the mean absolute difference of the patches, in float32 under autocast too."""
        inside = mask_at(mask, first)
        levels = [side for side in self.settings.pyramid if side <= min(first.shape[-2:])]
        values = []
        with torch.autocast(first.device.type, enabled=False):
            maps = [full_precision(m) for m in (first, second)]
            for side in levels:
                (one, kept), (other, _) = (pool_all_patches(m, (side, side), inside) for m in maps)
                difference = (one - other).abs()
                values.append(masked_mean(difference, None if kept is None else kept[:, None].expand_as(difference)))
        return torch.stack(values).mean()


def random_box(smallest: float, device: torch.device | None = None) -> Tensor:
    """A random square window, (3,): edge, and the centre's x and y in [-1, 1], all relative to the image."""
    edge, x, y = torch.rand(3, device=device).double()
    edge = smallest + (1 - smallest) * edge
    return torch.stack([edge, (1 - edge) * (2 * x - 1), (1 - edge) * (2 * y - 1)])


def crop(maps: Tensor, box: Tensor) -> Tensor:
    """Crop maps (B, C, H, W) to the window of :func:`random_box`, enlarged (bilinear) to H x W."""
    # In half precision PyTorch makes no grid for a map that is one pixel high or wide.
    edge, x, y = box.to(torch.promote_types(maps.dtype, torch.float32))
    nothing = torch.zeros_like(edge)
    window = torch.stack([edge, nothing, x, nothing, edge, y]).view(2, 3).expand(len(maps), 2, 3)
    grid = F.affine_grid(window, list(maps.shape), align_corners=False)
    return F.grid_sample(maps, grid.to(maps.dtype), padding_mode="border", align_corners=False)
