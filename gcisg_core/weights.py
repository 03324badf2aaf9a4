"""Penalties on a network's weights without a copy of all weights, or of their gradients, in one vector.

Methods store weights as one vector (P,), with all parameters in order.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable


def as_vector(tensors: Iterable[Tensor]) -> Tensor:
    """All values in one vector. torch's `parameters_to_vector` refuses weights that lie channels last in memory."""
    return torch.cat([tensor.reshape(-1) for tensor in tensors])


def pieces(vector: Tensor, weights: Sequence[Tensor]) -> list[Tensor]:
    """The values (P,) as views of the weights' shapes."""
    parts = vector.split([weight.numel() for weight in weights])
    return [part.view_as(weight) for part, weight in zip(parts, weights, strict=True)]


def total(tensors: Iterable[Tensor]) -> Tensor:
    """The sum of all values: a scalar."""
    return torch.stack([tensor.sum() for tensor in tensors]).sum()


def penalty(value: Tensor, gradients: Sequence[Tensor], weights: Sequence[Tensor], scale: float = 1.0) -> Tensor:
    """A term of the loss with a known gradient.

    Args:
        value: A scalar, without a graph.
        gradients: Gradients with respect to each weight, in the weights' shapes, divided by ``scale``.
        weights: Parameters, which get the gradients in the backward pass.
        scale: Factor of all gradients, applied in the pass over them that the backward pass makes anyway.
    """
    result: Tensor = _Penalty.apply(value, gradients, scale, *weights)
    return result


class _Penalty(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, value: Tensor, gradients: Sequence[Tensor], scale: float, *weights: Tensor) -> Tensor:
        # Saved here rather than in an attribute, so that a later change of them raises an error.
        ctx.save_for_backward(*gradients)
        ctx.scale = scale
        return value.clone()

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, above: Tensor) -> tuple[Tensor | None, ...]:
        return (None, None, None, *torch._foreach_mul(ctx.saved_tensors, above * ctx.scale))
