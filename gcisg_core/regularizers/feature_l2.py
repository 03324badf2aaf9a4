"""Distance between the features and those of the pretrained network (ROAD's distillation)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor, nn

from gcisg_core.config import Settings, per_stage, require_stages
from gcisg_core.encoders import ReferenceEncoder
from gcisg_core.feature_tap import Features, make_tap
from gcisg_core.padding import mask_at, masked_mean
from gcisg_core.precision import full_precision
from gcisg_core.regularizers.base import Regularizer, Terms


@dataclass(frozen=True)
class FeatureL2Settings(Settings):
    """Settings of the feature distance.

    Attributes:
        lambda_feature_l2: Weight, one number or one for each stage; 0 turns it off. CSG does not state it; the default
            is the weight of CSG's loss.
        stages: Stages 0 to 4; ROAD distils the last features before the classifier.
    """

    lambda_feature_l2: float | tuple[float, ...] = 0.1
    stages: tuple[int, ...] = (4,)

    def __post_init__(self) -> None:
        super().__post_init__()
        require_stages("stages", self.stages)


class FeatureL2(Regularizer):
    """L_task + sum_l lambda mean over positions of |f_s(x) - f_r(x)|, the Euclidean distance of feature vectors.

    ROAD uses real target images; here, as in CSG's table, the images are synthetic.
    Extra forward passes per step: the reference on the task view.

    Source: ROAD (Chen et al., CVPR 2018), "target guided distillation"; CSG (ICLR 2021), Table 1.
    """

    settings_class: ClassVar[type[Settings]] = FeatureL2Settings
    settings: FeatureL2Settings

    def __init__(self, student: nn.Module, settings: FeatureL2Settings) -> None:
        super().__init__(student, settings)
        self.weights = per_stage("lambda_feature_l2", settings.lambda_feature_l2, settings.stages)
        self.reference: ReferenceEncoder | None = None
        if self.weights:
            tap = make_tap(student, [*self.weights], settings.stage_locations)
            self.taps[settings.task_view] = tap
            self.reference = ReferenceEncoder(student, tap)

    def forward(self, views: Sequence[Tensor], features: Sequence[Features], mask: Tensor | None = None) -> Terms:
        terms = Terms({}, {})
        if self.reference is not None:
            view = self.settings.task_view
            reference = self.reference(views[view])
            for stage, weight in self.weights.items():
                distance = feature_distance(features[view][stage], reference[stage], mask)
                terms.losses[f"loss_feature_l2_stage{stage}"] = weight * distance
        return terms

    def _init_from_student(self) -> None:
        if self.reference is not None:
            self.reference.capture(self.student)


def feature_distance(student: Tensor, reference: Tensor, mask: Tensor | None = None) -> Tensor:
    """Mean over images and positions of the Euclidean distance of (B, C, H, W) features; padding is left out."""
    inside = mask_at(mask, student)
    with torch.autocast(student.device.type, enabled=False):
        difference = full_precision(student) - full_precision(reference)
        distance = torch.linalg.vector_norm(difference, dim=1)
        return masked_mean(distance, inside)
