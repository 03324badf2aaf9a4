"""Penalties on a network's weights that never copy all of them into one vector, as their gradients would again.

What a method keeps of the weights is one vector (P,), every parameter in its order.
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
    """A term of the loss of which the gradient is known.

    Args:
        value: A scalar, without a graph.
        gradients: Of the value by each weight, of the weights' shapes, up to ``scale``.
        weights: Parameters, which take them in the backward pass.
        scale: What all gradients are multiplied by, in the pass over them that the backward pass makes anyway.
    """
    result: Tensor = _Penalty.apply(value, gradients, scale, *weights)
    return result


class _Penalty(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, value: Tensor, gradients: Sequence[Tensor], scale: float, *weights: Tensor) -> Tensor:
        # Not in an attribute: saved like this, it is an error if they were changed since.
        ctx.save_for_backward(*gradients)
        ctx.scale = scale
        return value.clone()

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, above: Tensor) -> tuple[Tensor | None, ...]:
        return (None, None, None, *torch._foreach_mul(ctx.saved_tensors, above * ctx.scale))
