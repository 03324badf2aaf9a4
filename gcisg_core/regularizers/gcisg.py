"""Guided causal-invariant learning (GCISG, ECCV 2022): guidance by the pretrained network, and causal invariance.

B images, N embeddings (B, or B times the patches of the dense form), d dimensions, K support vectors.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from gcisg_core.config import Settings, per_stage, require, require_stages
from gcisg_core.encoders import MomentumEncoder, ReferenceEncoder, StageProjectors
from gcisg_core.feature_tap import Features, make_tap
from gcisg_core.lookup import choose
from gcisg_core.losses import REDUCTIONS, causal_invariance_loss, guidance_loss, info_nce_loss
from gcisg_core.old_names import rename_tensors
from gcisg_core.padding import mask_at
from gcisg_core.patches import pool_patches
from gcisg_core.pooling import POOLINGS
from gcisg_core.precision import NO_GRAD_PRECISIONS, run_without_gradient
from gcisg_core.queue import SupportQueue
from gcisg_core.regularizers.base import Regularizer, Terms


@dataclass(frozen=True)
class GCISGSettings(Settings):
    """Settings of GCISG; the defaults are the paper's if it states them.

    The paper states no weights. Those of the authors' code, 1 and 1, belong to other forms of the losses
    (``official``). The defaults give Eq. 8 and Eq. 3 the strength of those forms: the gradient of the batch's norm F is
    B / (2 F) times that of the mean square, about 10 at their B = 32 (docs/method.md), and the sum of both directions
    is twice their mean.

    Attributes:
        lambda_guidance: Weight of the guidance loss, one number or one for each stage (Eq. 10); 0 turns it off.
        lambda_ci: Weight of the causal invariance loss, in the same form.
        stages_guidance: S_G, the stages of guidance, 0 to 4 (Table 3).
        stages_ci: S_CI, the stages of causal invariance, 0 to 4 (Table 3).
        pooling: Pooling of the guidance, a name of :data:`gcisg_core.pooling.POOLINGS` (Fig. 4).
        patches_guidance: ph x pw patches that guidance pools and compares one by one. 1 x 1 is the whole map, as in the
            paper; in scenes, most of that is background.
        guidance_reduction: ``batch_mean`` (Eq. 8) or ``frobenius`` (the authors' code, at a weight of 1).
        ci_loss: ``causal_invariance`` (Eq. 2) or ``info_nce`` (Table 5).
        tau: Temperature of the student, or of InfoNCE (CSG uses 0.07).
        tau_momentum: Temperature of the momentum encoder; InfoNCE does not use it.
        queue_length: K, the number of support samples for each stage.
        embedding_dim: d, the length of an embedding.
        decay: m, the decay of the momentum encoder's moving average.
        momentum_update: When the momentum encoder follows the student: ``after_step`` of the optimiser, or
            ``before_step``, towards the weights that made this step's losses (the authors' code).
        patches: ph x pw patches of the dense form (Eq. 4); 1 x 1 is one embedding for each image.
        sequential_enqueue: False: both directions of Eq. 3 see the same queue, and the loss is their mean. True: the
            second direction sees the keys of the first in the queue, and the loss is their sum (the authors' code, with
            a weight of 1).
        no_grad_precision: Precision of the passes without gradients: ``same`` as the student's, ``bfloat16`` or
            ``float16``. The student's passes, gradients, projections and losses do not change.
    """

    presets: ClassVar[Mapping[str, Mapping[str, Any]]] = {
        "paper": {},
        "official": {
            "lambda_guidance": 1.0,
            "lambda_ci": 1.0,
            "guidance_reduction": "frobenius",
            "sequential_enqueue": True,
            "momentum_update": "before_step",
            "task_view": 1,
        },
    }

    lambda_guidance: float | tuple[float, ...] = 10.0
    lambda_ci: float | tuple[float, ...] = 2.0
    stages_guidance: tuple[int, ...] = (3, 4)
    stages_ci: tuple[int, ...] = (3, 4)
    pooling: str = "self_attention"
    patches_guidance: tuple[int, ...] = (1, 1)
    guidance_reduction: str = "batch_mean"
    ci_loss: str = "causal_invariance"
    tau: float = 0.12
    tau_momentum: float = 0.04
    queue_length: int = 65536
    embedding_dim: int = 128
    decay: float = 0.996
    momentum_update: str = "after_step"
    patches: tuple[int, ...] = (1, 1)
    sequential_enqueue: bool = False
    no_grad_precision: str = "same"

    def __post_init__(self) -> None:
        super().__post_init__()
        require_stages("stages_guidance", self.stages_guidance)
        require_stages("stages_ci", self.stages_ci)
        choose(POOLINGS, self.pooling, "pooling")
        choose(REDUCTIONS, self.guidance_reduction, "guidance_reduction")
        choose(CI_LOSSES, self.ci_loss, "ci_loss")
        choose(NO_GRAD_PRECISIONS, self.no_grad_precision, "no_grad_precision")
        require(self.tau > 0 and self.tau_momentum > 0, "tau, tau_momentum", (self.tau, self.tau_momentum), "above 0")
        require(self.queue_length > 0, "queue_length", self.queue_length, "at least 1")
        require(self.embedding_dim > 0, "embedding_dim", self.embedding_dim, "at least 1")
        require(0 <= self.decay <= 1, "decay", self.decay, "in [0, 1]")
        orders = ("after_step", "before_step")
        require(
            self.momentum_update in orders, "momentum_update", self.momentum_update, "'after_step' or 'before_step'"
        )
        for name in ("patches", "patches_guidance"):
            value = getattr(self, name)
            require(len(value) == 2 and min(value) > 0, name, value, "two numbers of at least 1")

    @property
    def ci_weights(self) -> dict[int, float]:
        """Stage -> weight of the causal invariance loss."""
        return per_stage("lambda_ci", self.lambda_ci, self.stages_ci)

    @property
    def views_needed(self) -> int:
        return 2 if self.ci_weights else super().views_needed


class GCISG(Regularizer):
    """L_task + sum_l lambda_G L_G^(l) + sum_l lambda_CI L_CI^(l) (Eq. 10).

    Extra forward passes per step: student on the other view, momentum encoder on both, reference on the task view;
    without causal invariance, only the reference.

    Source: GCISG (ECCV 2022), Eq. 1 to 10, and Tables 3 to 5 for the options.
    """

    settings_class: ClassVar[type[Settings]] = GCISGSettings
    settings: GCISGSettings

    def __init__(self, student: nn.Module, settings: GCISGSettings) -> None:
        super().__init__(student, settings)
        s = settings
        self.guidance_weights = per_stage("lambda_guidance", s.lambda_guidance, s.stages_guidance)
        self.ci_weights = s.ci_weights
        self.reference: nn.Module | None = None
        self.momentum_encoder: MomentumEncoder | None = None
        self._moved = False  # whether the momentum encoder was updated in the current step
        stages = [*self.guidance_weights, *self.ci_weights]
        if stages:
            self.taps[s.task_view] = make_tap(student, stages, s.stage_locations)
        if self.guidance_weights:
            self.reference = self._build_reference(student)
        if self.ci_weights:
            tap = make_tap(student, [*self.ci_weights], s.stage_locations)
            self.taps[1 - s.task_view] = tap
            self.projectors = StageProjectors(tap.channels(student), s.embedding_dim)
            self.momentum_encoder = MomentumEncoder(student, self.projectors, tap, s.decay)
            self.queues = nn.ModuleDict(
                {f"stage{stage}": SupportQueue(s.queue_length, s.embedding_dim) for stage in self.ci_weights}
            )

    def _build_reference(self, student: nn.Module) -> nn.Module:
        return ReferenceEncoder(student, make_tap(student, [*self.guidance_weights], self.settings.stage_locations))

    def forward(self, views: Sequence[Tensor], features: Sequence[Features], mask: Tensor | None = None) -> Terms:
        terms, precision = Terms({}, {}), self.settings.no_grad_precision
        if self.reference is not None:
            view = self.settings.task_view
            reference = run_without_gradient(precision, self.reference, views[view])
            self._guide(terms, features[view], reference, mask)
        if self.momentum_encoder is not None:
            z = self._embed(self.projectors, [self._patches(maps, mask) for maps in features[:2]])
            # One view at a time: the maps of a pass are freed before the next one.
            pooled = []
            for images in views[:2]:
                maps = run_without_gradient(precision, self.momentum_encoder, images, self.student)
                pooled.append(self._patches(maps, mask))
                del maps
            self._align(terms, z, self._embed(self.momentum_encoder.projectors, pooled))
        return terms

    def _guide(self, terms: Terms, student: Features, reference: Features, mask: Tensor | None) -> None:
        rows, columns = self.settings.patches_guidance
        for stage, weight in self.guidance_weights.items():
            terms.losses[f"loss_guidance_stage{stage}"] = weight * guidance_loss(
                student[stage],
                reference[stage],
                self.settings.pooling,
                self.settings.guidance_reduction,
                mask=mask_at(mask, student[stage]),
                patches=(rows, columns),
            )

    def _patches(self, maps: Features, mask: Tensor | None) -> Features:
        """Stage -> the pooled patches (N, C) of one view."""
        rows, columns = self.settings.patches
        return {
            stage: pool_patches(maps[stage], (rows, columns), mask_at(mask, maps[stage])) for stage in self.ci_weights
        }

    def _embed(self, projectors: StageProjectors, pooled: Sequence[Features]) -> Features:
        """Stage -> unit embeddings (2 N, d) of both views' patches, which go through the projector together."""
        return {
            stage: projectors.embed(stage, torch.cat([view[stage] for view in pooled])) for stage in self.ci_weights
        }

    def _align(self, terms: Terms, z: Features, z_momentum: Features) -> None:
        """Add the loss of every stage, given the embeddings (2 N, d) of both views, view 1 first."""
        for stage, weight in self.ci_weights.items():
            ours, partner = z[stage], z_momentum[stage].roll(len(z[stage]) // 2, dims=0)
            queue = self.queues[f"stage{stage}"]
            assert isinstance(queue, SupportQueue)
            terms.losses[f"loss_ci_stage{stage}"] = weight * self._relate(ours, partner, z_momentum[stage], queue)
            with torch.no_grad():
                terms.metrics[f"ci_match_stage{stage}"] = pair_match(ours.chunk(2)[0], partner.chunk(2)[0])
                terms.metrics[f"queue_concentration_stage{stage}"] = queue.features.mean(dim=0).norm()

    def _relate(self, z: Tensor, partner: Tensor, keys: Tensor, queue: SupportQueue) -> Tensor:
        """Both directions of Eq. 3, ``partner`` being the keys of the other view; then the keys join the queue."""
        loss = CI_LOSSES[self.settings.ci_loss]
        if not self.settings.sequential_enqueue:
            # The mean over the rows of both directions is the mean of the two directions.
            value = loss(self.settings, z, partner, queue.features)
            queue.enqueue(keys)
            return value
        values = []
        for rows, others in zip(z.chunk(2), partner.chunk(2), strict=True):
            values.append(loss(self.settings, rows, others, queue.features))
            queue.enqueue(others)
        return values[0] + values[1]

    def _load_from_state_dict(self, state_dict: dict[str, Any], prefix: str, *args: Any) -> None:
        rename_tensors(state_dict, prefix)
        super()._load_from_state_dict(state_dict, prefix, *args)

    def _init_from_student(self) -> None:
        if isinstance(self.reference, ReferenceEncoder):
            self.reference.capture(self.student)
        if self.momentum_encoder is not None:
            self.momentum_encoder.capture(self.student)

    def before_optimizer_step(self) -> None:
        super().before_optimizer_step()
        # An optimiser that clips gradients calls this twice a step.
        if self.momentum_encoder is not None and self.settings.momentum_update == "before_step" and not self._moved:
            self.momentum_encoder.update(self.student)
            self._moved = True

    def after_optimizer_step(self) -> None:
        super().after_optimizer_step()
        if self.momentum_encoder is None:
            return
        if self.settings.momentum_update == "after_step":
            self.momentum_encoder.update(self.student)
        elif not self._moved:
            raise ValueError(
                "momentum_update 'before_step' needs before_optimizer_step() right before each step of the optimiser; "
                "add the project's RegularizerHook to the config"
            )
        self._moved = False


def pair_match(z: Tensor, z_momentum: Tensor) -> Tensor:
    """Share of rows of ``z`` (N, d) whose nearest row of ``z_momentum`` (N, d) is their own partner, in [0, 1]."""
    nearest = (z @ z_momentum.T).argmax(dim=1)
    return (nearest == torch.arange(len(z), device=z.device)).float().mean()


def _causal_invariance(settings: GCISGSettings, z: Tensor, z_momentum: Tensor, support: Tensor) -> Tensor:
    return causal_invariance_loss(z, z_momentum, support, settings.tau, settings.tau_momentum)


def _info_nce(settings: GCISGSettings, z: Tensor, z_momentum: Tensor, support: Tensor) -> Tensor:
    return info_nce_loss(z, z_momentum, support, settings.tau)


CI_LOSSES: dict[str, Callable[[GCISGSettings, Tensor, Tensor, Tensor], Tensor]] = {
    "causal_invariance": _causal_invariance,
    "info_nce": _info_nce,
}
