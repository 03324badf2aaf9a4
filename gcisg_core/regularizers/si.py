"""Synaptic Intelligence: the distance of the weights to the pretrained ones, weighted by their importance."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from gcisg_core.config import Settings, require
from gcisg_core.feature_tap import Features
from gcisg_core.regularizers.base import Regularizer, Terms, as_vector


@dataclass(frozen=True)
class SISettings(Settings):
    """Settings of Synaptic Intelligence; the strength and the damping are the paper's for permuted MNIST.

    Attributes:
        lambda_si: c, the strength (Eq. 4). CSG states none.
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

    In the paper Omega is the path integral of earlier tasks. Here there is one earlier task, the pretraining, and
    its path is not in the weights file. The training at hand is therefore cut into intervals that play the tasks: in
    each, omega_k sums -g_k dtheta_k over the optimiser's steps (Eq. 3), g being the gradient of the task alone, without
    the penalty's and before clipping; at its end Omega_k becomes max(Omega_k + omega_k / (D_k^2 + xi), 0), D_k being
    the interval's change of theta_k (Eq. 5; the clamp is the authors' code). The anchor stays theta*, so what matters
    is how much a weight has done for the synthetic task, not for the pretraining, and the first interval is not
    regularised. In this the method departs from its source.

    The gradients are those after averaging over the ranks, so that all ranks have the same Omega.
    No forward passes beside the task's. Memory: four times the weights (a fifth and sixth during a step).

    Source: Zenke et al. (ICML 2017), Eq. 3 to 5; CSG (ICLR 2021), Table 1.

    Shape:
        ``anchor`` theta*, ``start`` (of the interval), ``path`` omega and ``importance`` Omega: (P,), every
        parameter of the backbone in its order; ``steps`` a scalar, of the current interval.
    """

    settings_class: ClassVar[type[Settings]] = SISettings
    steady_buffers = ("anchor", "start", "path", "importance", "steps")
    settings: SISettings
    anchor: Tensor
    start: Tensor
    path: Tensor
    importance: Tensor
    steps: Tensor

    def __init__(self, student: nn.Module, settings: SISettings) -> None:
        super().__init__(student, settings)
        weights = self._weights().detach()
        for name in ("anchor", "start"):
            self.register_buffer(name, weights.clone())
        for name in ("path", "importance"):
            self.register_buffer(name, torch.zeros_like(weights))
        self.register_buffer("steps", torch.zeros((), dtype=torch.long))
        self._before: tuple[Tensor, Tensor] | None = None
        self._counted: int | None = None  # `steps` without a wait for the device

    def _weights(self) -> Tensor:
        return as_vector(self.student.parameters())

    def forward(self, views: Sequence[Tensor], features: Sequence[Features], mask: Tensor | None = None) -> Terms:
        distance = (self.importance * (self._weights() - self.anchor).square()).sum()
        return Terms({"loss_si": self.settings.lambda_si * distance}, {"si_importance": self.importance.mean()})

    def _load_from_state_dict(self, *args: Any) -> None:
        super()._load_from_state_dict(*args)
        self._counted = None

    @torch.no_grad()
    def _init_from_student(self) -> None:
        self.anchor.copy_(self._weights())
        self.start.copy_(self.anchor)

    @torch.no_grad()
    def after_backward(self, scale: float = 1.0) -> None:
        super().after_backward(scale)
        weights = self._weights()
        gradients = [torch.zeros_like(p) if p.grad is None else p.grad for p in self.student.parameters()]
        penalty = 2 * self.settings.lambda_si * self.importance * (weights - self.anchor)
        self._before = weights, as_vector(gradients) / scale - penalty

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
        weights, gradients = self._before
        self._before = None
        now = self._weights()
        change = now - weights
        # A scaler leaves out a step whose gradients overflowed: nothing moves, and infinity times 0 must not count.
        self.path -= torch.where(change == 0, 0, gradients * change)
        self._counted = (int(self.steps) if self._counted is None else self._counted) + 1
        self.steps += 1
        if self._counted == self.settings.interval:
            moved = (now - self.start).square()
            self.importance.add_(self.path / (moved + self.settings.damping)).clamp_(min=0)
            self.path.zero_()
            self.start.copy_(now)
            self.steps.zero_()
            self._counted = 0
