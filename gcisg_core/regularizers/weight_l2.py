"""Distance between the weights and the pretrained ones, with equal importance for all weights."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor, nn

from gcisg_core.config import Settings, require
from gcisg_core.feature_tap import Features
from gcisg_core.regularizers.base import Regularizer, Terms
from gcisg_core.weights import as_vector, penalty, pieces, total


@dataclass(frozen=True)
class WeightL2Settings(Settings):
    """Settings of the weight distance.

    Attributes:
        lambda_weight_l2: Weight; 0 turns it off. CSG does not state it; the default is the weight of CSG's loss.
    """

    lambda_weight_l2: float = 0.1

    def __post_init__(self) -> None:
        super().__post_init__()
        require(self.lambda_weight_l2 >= 0, "lambda_weight_l2", self.lambda_weight_l2, "at least 0")


class WeightL2(Regularizer):
    """L_task + lambda / 2 |theta - theta*|^2 with theta* the pretrained weights of the backbone.

    No extra forward passes.

    Source: CSG (ICLR 2021), Table 1, "weight l2 distance"; Kirkpatrick et al. (PNAS 2017), Eq. 3, whose Fisher
    weights are all 1 here.

    Shape:
        ``anchor`` (P,): theta*, every parameter of the backbone in its order.
    """

    settings_class: ClassVar[type[Settings]] = WeightL2Settings
    settings: WeightL2Settings
    anchor: Tensor

    def __init__(self, student: nn.Module, settings: WeightL2Settings) -> None:
        super().__init__(student, settings)
        self.register_buffer("anchor", as_vector(student.parameters()).detach())

    def forward(self, views: Sequence[Tensor], features: Sequence[Features], mask: Tensor | None = None) -> Terms:
        weights: list[Tensor] = [*self.student.parameters()]
        strength = self.settings.lambda_weight_l2
        with torch.no_grad():
            moved = torch._foreach_sub(weights, pieces(self.anchor, weights))
            value = strength / 2 * total(part.square() for part in moved)
        return Terms({"loss_weight_l2": penalty(value, moved, weights, strength)}, {})

    @torch.no_grad()
    def _init_from_student(self) -> None:
        self.anchor.copy_(as_vector(self.student.parameters()))
