"""GCISG guided by a network other than the student's initial copy; our method, not from a paper."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from gcisg_core.config import Settings, require
from gcisg_core.feature_tap import Features, make_tap
from gcisg_core.guides import IMAGENET_MEAN, IMAGENET_STD, GuideEncoder
from gcisg_core.regularizers.base import Terms
from gcisg_core.regularizers.gcisg import GCISG, GCISGSettings


@dataclass(frozen=True)
class GuidedSettings(GCISGSettings):
    """Settings of GCISG, and the guide.

    Attributes:
        guide: ``timm:vit_small_patch14_dinov2``, ``timm:vit_base_patch16_clip_224``, ``torchvision:resnet101``, ...
        guide_weights: A weights file of that model. If it is empty, timm takes its weights from the hub or the hub's
            cache.
        guide_size: Size in pixels to which the views are resized for the guide; 0 keeps their size.
        view_mean, view_std: Normalisation of the views, for RGB in [0, 1]; ImageNet's in this suite's configs. The
            views must be RGB, so in detection use torchvision's weights and not MSRA's.
        lambda_guidance: Weight of the guidance loss. It is lower than in GCISG, because an adapter starts far from the
            guide's features.
        stages_guidance: Stages that are compared with the guide's last feature map.
    """

    presets: ClassVar[Mapping[str, Mapping[str, Any]]] = {"paper": {}}

    guide: str = ""
    guide_weights: str = ""
    guide_size: int = 0
    view_mean: tuple[float, ...] = IMAGENET_MEAN
    view_std: tuple[float, ...] = IMAGENET_STD
    lambda_guidance: float | tuple[float, ...] = 1.0
    stages_guidance: tuple[int, ...] = (4,)

    def __post_init__(self) -> None:
        super().__post_init__()
        require(
            ":" in self.guide,
            "guide",
            self.guide,
            "source:model, such as timm:vit_small_patch14_dinov2; without another guide use the method gcisg",
        )
        require(self.guide_size >= 0, "guide_size", self.guide_size, "at least 0")
        for name in ("view_mean", "view_std"):
            require(len(getattr(self, name)) == 3, name, getattr(self, name), "three numbers")


class Guided(GCISG):
    """L_task + sum_l lambda_G L_G(A_l f_s, f_g) + sum_l lambda_CI L_CI, f_g the guide.

    A_l, a linear adapter, is trained with the student: it maps the student's channels to the guide's; the guide's map
    is resized to the student's. Everything else, including pooling and distance, is as in :class:`GCISG`.

    Extra forward passes per step: those of :class:`GCISG`, with the guide in place of the reference.
    """

    settings_class: ClassVar[type[Settings]] = GuidedSettings
    settings: GuidedSettings

    def _build_reference(self, student: nn.Module) -> nn.Module:
        s = self.settings
        guide = GuideEncoder(s.guide, s.guide_weights, s.view_mean, s.view_std, s.guide_size)
        width = guide(torch.zeros(1, 3, s.guide_size or 224, s.guide_size or 224)).shape[1]
        channels = make_tap(student, [*self.guidance_weights], s.stage_locations).channels(student)
        self.adapters = nn.ModuleDict(
            {f"stage{stage}": nn.Conv2d(own, width, 1, bias=False) for stage, own in channels.items()}
        )
        return guide

    def _guide(self, terms: Terms, student: Features, reference: Any, mask: Tensor | None) -> None:
        adapted = {stage: self.adapters[f"stage{stage}"](student[stage]) for stage in self.guidance_weights}
        guide = {
            stage: F.interpolate(reference.float(), maps.shape[-2:], mode="bilinear", align_corners=False)
            for stage, maps in adapted.items()
        }
        super()._guide(terms, adapted, guide, mask)
