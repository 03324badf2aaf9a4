"""Synaptic Intelligence: the distance to the pretrained weights, weighted by their importance."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from gcisg_core.config import Settings, require
from gcisg_core.feature_tap import Features
from gcisg_core.regularizers.base import Regularizer, Terms
from gcisg_core.weights import as_vector, penalty, pieces, total


@dataclass(frozen=True)
class SISettings(Settings):
    """Settings of Synaptic Intelligence; the strength and the damping are the paper's for permuted MNIST.

    Attributes:
        lambda_si: c, the strength (Eq. 4). CSG does not state it.
        damping: xi, which keeps the importance finite if a weight has hardly moved (Eq. 5).
        interval: Optimiser steps that count as one task. Ours: see :class:`SynapticIntelligence`.
    """

    lambda_si: float = 0.1
    damping: float = 0.1
    interval: int = 100

    def __post_init__(self) -> None:
        super().__post_init__()
        require(self.lambda_si >= 0, "lambda_si", self.lambda_si, "at least 0")
        require(self.damping > 0, "damping", self.damping, "above 0")
        require(self.interval > 0, "interval", self.interval, "at least 1")


class SynapticIntelligence(Regularizer):
    """L_task + c sum_k Omega_k (theta_k - theta*_k)^2 with theta* the pretrained weights (Eq. 4).

    In the paper, Omega is the path integral over earlier tasks. Here, the only earlier task is the pretraining, and
    its path is not in the weights file. Training is therefore divided into intervals that stand for tasks: in
    each, omega_k sums -g_k dtheta_k over the optimiser's steps (Eq. 3), g is the gradient of the task alone, without
    the penalty's and before clipping; at its end Omega_k becomes max(Omega_k + omega_k / (D_k^2 + xi), 0), where D_k
    is the interval's change of theta_k (Eq. 5; the clamp is the authors' code). The anchor stays theta*. Omega thus
    measures a weight's contribution to the synthetic task, not to the pretraining, and the first interval is not
    regularised. In this, the method differs from its source.

    The gradients are averaged over the ranks, so that all ranks have the same Omega.
    No extra forward passes. Memory: four times the weights (three times more during a step).

    Source: Zenke et al. (ICML 2017), Eq. 3 to 5; CSG (ICLR 2021), Table 1.

    Shape:
        ``anchor`` theta*, ``start`` (of the interval), ``path`` omega and ``importance`` Omega: (P,), every
        parameter of the backbone in its order; ``steps`` a scalar, of the current interval.
    """

    settings_class: ClassVar[type[Settings]] = SISettings
    steady_buffers = ("anchor", "start", "path", "importance", "importance_mean", "steps")
    settings: SISettings
    anchor: Tensor
    start: Tensor
    path: Tensor
    importance: Tensor
    importance_mean: Tensor
    steps: Tensor

    def __init__(self, student: nn.Module, settings: SISettings) -> None:
        super().__init__(student, settings)
        weights = as_vector(student.parameters()).detach()
        for name in ("anchor", "start"):
            self.register_buffer(name, weights.clone())
        for name in ("path", "importance"):
            self.register_buffer(name, torch.zeros_like(weights))
        self.register_buffer("steps", torch.zeros((), dtype=torch.long))
        self.register_buffer("importance_mean", weights.new_zeros(()), persistent=False)  # it changes once per interval
        # The penalty's gradients at the current weights, and free memory of the same size.
        self._pull: tuple[list[Tensor], list[Tensor]] | None = None
        self._before: tuple[list[Tensor], list[Tensor]] | None = None  # weights, and the task's gradients times -1
        self._counted: int | None = None  # `steps`, readable without waiting for the device

    def forward(self, views: Sequence[Tensor], features: Sequence[Features], mask: Tensor | None = None) -> Terms:
        weights: list[Tensor] = [*self.student.parameters()]
        value, pull, free = self._penalty(weights)
        self._pull = pull, free
        return Terms({"loss_si": penalty(value, pull, weights)}, {"si_importance": self.importance_mean.clone()})

    @torch.no_grad()
    def _penalty(self, weights: list[Tensor]) -> tuple[Tensor, list[Tensor], list[Tensor]]:
        """Its value, its gradients, and free memory of the same size."""
        moved = torch._foreach_sub(weights, pieces(self.anchor, weights))
        weighted = torch._foreach_mul(moved, pieces(self.importance, weights))
        torch._foreach_mul_(moved, weighted)
        torch._foreach_mul_(weighted, 2 * self.settings.lambda_si)
        return self.settings.lambda_si * total(moved), [*weighted], [*moved]

    def _load_from_state_dict(self, *args: Any) -> None:
        super()._load_from_state_dict(*args)
        self.importance_mean.copy_(self.importance.mean())
        self._pull = self._counted = None

    @torch.no_grad()
    def _init_from_student(self) -> None:
        self.anchor.copy_(as_vector(self.student.parameters()))
        self.start.copy_(self.anchor)

    @torch.no_grad()
    def after_backward(self, scale: float = 1.0) -> None:
        super().after_backward(scale)
        weights: list[Tensor] = [*self.student.parameters()]
        pull, free = self._penalty(weights)[1:] if self._pull is None else self._pull
        self._pull = None  # allocation costs as much as the arithmetic, so this memory is reused
        found = [torch.zeros_like(weight) if weight.grad is None else weight.grad for weight in weights]
        if scale != 1:
            found = [*torch._foreach_div(found, scale)]
        torch._foreach_sub_(pull, found)
        torch._foreach_copy_(free, weights)
        self._before = free, pull

    def before_optimizer_step(self) -> None:
        super().before_optimizer_step()
        if self._before is None:
            self.after_backward()

    @torch.no_grad()
    def after_optimizer_step(self) -> None:
        super().after_optimizer_step()
        if self._before is None:
            raise ValueError(
                "si sums over the path of the optimiser and needs before_optimizer_step() before each of its steps; "
                "add the project's RegularizerHook to the config"
            )
        before, against = self._before
        self._before = self._pull = None
        now: list[Tensor] = [*self.student.parameters()]
        torch._foreach_sub_(before, now)
        for gradient in against:
            # A scaler skips a step whose gradients overflowed: no weight moves, and infinity times 0 is not 0.
            gradient.nan_to_num_(nan=0.0, posinf=0.0, neginf=0.0)
        torch._foreach_addcmul_(pieces(self.path, now), against, before, value=-1)
        self._counted = (int(self.steps) if self._counted is None else self._counted) + 1
        self.steps += 1
        if self._counted == self.settings.interval:
            weights = as_vector(now)
            moved = (weights - self.start).square()
            self.importance.add_(self.path / (moved + self.settings.damping)).clamp_(min=0)
            self.importance_mean.copy_(self.importance.mean())
            self.path.zero_()
            self.start.copy_(weights)
            self.steps.zero_()
            self._counted = 0
