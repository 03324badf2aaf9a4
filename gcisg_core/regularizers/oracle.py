"""The frozen pretrained backbone ("Oracle on ImageNet", CSG Table 1): only the head is trained."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from torch import Tensor, nn

from gcisg_core.config import Settings
from gcisg_core.regularizers.base import Regularizer


class Oracle(Regularizer):
    """Freezes the student's parameters and its BatchNorm statistics.

    Source: CSG (ICLR 2021), Table 1; GCISG (ECCV 2022), Table 1.
    """

    def __init__(self, student: nn.Module, settings: Settings) -> None:
        super().__init__(student, settings)
        student.requires_grad_(False)

    def step(
        self, views: Sequence[Tensor], run_task: Callable[[], Mapping[str, Tensor]], mask: Tensor | None = None
    ) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
        # The frameworks set the whole model to train mode before a step.
        self.student.eval()
        return super().step(views, run_task, mask)
