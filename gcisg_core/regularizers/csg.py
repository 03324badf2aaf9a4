"""Contrastive synthetic-to-real generalisation (CSG, ICLR 2021): pulls to the pretrained network, pushes apart.

B images, N embeddings (B, or B times the patches of the dense form), d dimensions, K support vectors.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import ClassVar

import torch
from torch import Tensor, nn
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

from gcisg_core.config import Settings, per_stage, require, require_stages
from gcisg_core.encoders import ReferenceEncoder, StageProjectors, follow
from gcisg_core.feature_tap import Features, make_tap
from gcisg_core.lookup import choose
from gcisg_core.losses import info_nce_loss
from gcisg_core.padding import mask_at
from gcisg_core.patches import cut_alike, pool_patches
from gcisg_core.pooling import self_attention_pool
from gcisg_core.precision import NO_GRAD_PRECISIONS, full_precision, run_without_gradient
from gcisg_core.queue import SupportQueue
from gcisg_core.regularizers.base import Regularizer, Terms
from gcisg_core.regularizers.gcisg import pair_match

POOLINGS = ("self_attention", "global_average")


@dataclass(frozen=True)
class CSGSettings(Settings):
    """Settings of CSG; the defaults are the paper's for classification. Segmentation: ``lambda_csg`` 75, 8 x 8 patches.

    Attributes:
        lambda_csg: Weight, one number or one for each stage (Eq. 4); 0 turns it off.
        stages: G, the stages that are compared, 0 to 4 (Table 3).
        pooling: ``self_attention`` (A-pool) or ``global_average`` (Table 4).
        tau: Temperature of InfoNCE.
        queue_length: K, the number of negatives for each stage.
        embedding_dim: d, the length of an embedding.
        decay: Decay of the projectors' moving average.
        patches: ph x pw patches of the dense form (Eq. 6); 1 x 1 is one embedding for each image.
        no_grad_precision: Precision of the passes without gradients: ``same`` as the student's, ``bfloat16`` or
            ``float16``. The student's passes, gradients, projections and losses do not change.
    """

    lambda_csg: float | tuple[float, ...] = 0.1
    stages: tuple[int, ...] = (3, 4)
    pooling: str = "self_attention"
    tau: float = 0.07
    queue_length: int = 65536
    embedding_dim: int = 128
    decay: float = 0.999
    patches: tuple[int, ...] = (1, 1)
    no_grad_precision: str = "same"

    def __post_init__(self) -> None:
        super().__post_init__()
        require_stages("stages", self.stages)
        require(bool(self.stages), "stages", self.stages, "at least one stage")
        choose(dict.fromkeys(POOLINGS), self.pooling, "pooling")
        choose(NO_GRAD_PRECISIONS, self.no_grad_precision, "no_grad_precision")
        require(self.tau > 0, "tau", self.tau, "above 0")
        require(self.queue_length > 0, "queue_length", self.queue_length, "at least 1")
        require(self.embedding_dim > 0, "embedding_dim", self.embedding_dim, "at least 1")
        require(0 <= self.decay <= 1, "decay", self.decay, "in [0, 1]")
        require(len(self.patches) == 2 and min(self.patches) > 0, "patches", self.patches, "two numbers of at least 1")

    @property
    def weights(self) -> dict[int, float]:
        """Stage -> weight."""
        return per_stage("lambda_csg", self.lambda_csg, self.stages)

    @property
    def views_needed(self) -> int:
        return 2 if self.weights else super().views_needed


class CSG(Regularizer):
    """L_task + sum_l lambda L_NCE^(l) (Eq. 4 and 5; Eq. 6 with patches).

    Anchor: the student's features of the task's view, pooled by their own attention (A-pool) and projected.
    Positive: the pretrained network's features of the other view, pooled by the attention of the student's features
    of that view, and projected by the averaged projector. Negatives: earlier positives, in a queue per stage.

    Extra forward passes per step: student (without gradient, in its mode) and reference, both on the other view.
    With global average pooling, only the reference.

    Source: CSG (ICLR 2021), Eq. 2 to 6 and Section 3.4.
    """

    settings_class: ClassVar[type[Settings]] = CSGSettings
    settings: CSGSettings

    def __init__(self, student: nn.Module, settings: CSGSettings) -> None:
        super().__init__(student, settings)
        s = settings
        self.weights = s.weights
        if not self.weights:
            return
        self.tap = make_tap(student, [*self.weights], s.stage_locations)
        # None for the other view: `step` then does not run the student with gradients on it.
        self.taps[s.task_view] = self.tap
        self.reference = ReferenceEncoder(student, self.tap)
        self.projectors = StageProjectors(self.tap.channels(student), s.embedding_dim)
        self.average = AveragedModel(self.projectors, multi_avg_fn=get_ema_multi_avg_fn(s.decay))
        self.average.requires_grad_(False)
        # With a count of 0, the first update would copy the projectors instead of averaging.
        self.average.n_averaged.fill_(1)
        self.queues = nn.ModuleDict(
            {f"stage{stage}": SupportQueue(s.queue_length, s.embedding_dim) for stage in self.weights}
        )

    def forward(self, views: Sequence[Tensor], features: Sequence[Features], mask: Tensor | None = None) -> Terms:
        terms = Terms({}, {})
        if not self.weights:
            return terms
        task_view = self.settings.task_view
        other, precision = views[1 - task_view], self.settings.no_grad_precision
        attention: Features = {}
        if self.settings.pooling == "self_attention":
            attention = run_without_gradient(precision, partial(self.tap.run, self.student), other)
        reference = run_without_gradient(precision, self.reference, other)
        average = self.average.module
        assert isinstance(average, StageProjectors)
        for stage, weight in self.weights.items():
            anchor = self.projectors.embed(stage, self._pool(features[task_view][stage], None, mask))
            with torch.no_grad():
                key = average.embed(stage, self._pool(reference[stage], attention.get(stage), mask))
                terms.metrics[f"csg_match_stage{stage}"] = pair_match(anchor, key)
            queue = self.queues[f"stage{stage}"]
            assert isinstance(queue, SupportQueue)
            terms.losses[f"loss_csg_stage{stage}"] = weight * info_nce_loss(
                anchor, key, queue.features, self.settings.tau
            )
            queue.enqueue(key)
        return terms

    def _pool(self, features: Tensor, attention_from: Tensor | None, mask: Tensor | None) -> Tensor:
        """The pooled patches (N, C), in float32 under autocast too; patches that are all padding are left out."""
        rows, columns = self.settings.patches
        image = mask_at(mask, features)
        with torch.autocast(features.device.type, enabled=False):
            maps = [full_precision(m) for m in (features, attention_from) if m is not None]
            if self.settings.pooling == "global_average":
                return pool_patches(maps[0], (rows, columns), image)
            cells, inside = cut_alike(maps, (rows, columns), image)
            return self_attention_pool(*cells, mask=inside)

    def _init_from_student(self) -> None:
        if self.weights:
            self.reference.capture(self.student)

    def after_optimizer_step(self) -> None:
        super().after_optimizer_step()
        if self.weights:
            follow(self.average, self.projectors)
