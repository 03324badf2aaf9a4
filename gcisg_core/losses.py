"""The losses on plain tensors. N rows, d dimensions, K support vectors; features are (B, C, H, W)."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.autograd.function import once_differentiable

from gcisg_core.lookup import choose
from gcisg_core.pooling import POOLINGS, Pooling


def _full_precision(*tensors: Tensor) -> list[Tensor]:
    """Half precision becomes float32; float64 stays."""
    return [t.float() if t.dtype in (torch.float16, torch.bfloat16) else t for t in tensors]


def _check_rows(**tensors: Tensor) -> None:
    """All are (rows, d) with the same d; the first two also have the same number of rows."""
    (first, anchor), (second, partner), *rest = tensors.items()
    for name, tensor in tensors.items():
        if tensor.ndim != 2 or 0 in tensor.shape:
            raise ValueError(f"{name} must have the shape (rows, d) and at least one row, got {tuple(tensor.shape)}")
    if anchor.shape != partner.shape:
        raise ValueError(f"{second} must have the shape of {first} {tuple(anchor.shape)}, got {tuple(partner.shape)}")
    for name, tensor in rest:
        if tensor.shape[1] != anchor.shape[1]:
            raise ValueError(f"{name} must have the d = {anchor.shape[1]} of {first}, got {tuple(tensor.shape)}")


def _check_positive(**values: float) -> None:
    for name, value in values.items():
        if not value > 0:
            raise ValueError(f"{name} must be above 0, got {value}")


class _RelationalCrossEntropy(torch.autograd.Function):
    """Mean over rows of - sum_k p_target[k] log p[k], a chunk of rows at a time, with its gradient in ``z``.

    The support takes no gradient, so d loss / d z = (p - p_target) Q / tau is formed while the chunk's
    distributions are at hand, and the (N, K) matrices never exist whole.
    """

    @staticmethod
    def forward(
        ctx: Any, z: Tensor, z_target: Tensor, support: Tensor, tau: float, tau_target: float, chunk_size: int
    ) -> Tensor:
        gradient = torch.empty_like(z)
        loss = z.new_zeros(())
        for z_chunk, target_chunk, gradient_chunk in zip(
            z.split(chunk_size), z_target.split(chunk_size), gradient.split(chunk_size), strict=True
        ):
            p_target = torch.mm(target_chunk / tau_target, support.T)
            torch.softmax(p_target, dim=1, out=p_target)
            p = torch.mm(z_chunk / tau, support.T)
            cross = torch.linalg.vecdot(p_target, p)
            # One pass gives both p and its logarithmic normaliser: the largest p is at least 1 / K.
            largest, index = p.max(dim=1, keepdim=True)
            torch.softmax(p, dim=1, out=p)
            log_normaliser = (largest - p.gather(1, index).log()).squeeze(1)
            loss += (log_normaliser - cross).sum()
            torch.mm(p.sub_(p_target), support, out=gradient_chunk)
        ctx.save_for_backward(gradient.div_(tau * len(z)))
        return loss / len(z)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad_output: Tensor) -> tuple[Tensor | None, ...]:
        (gradient,) = ctx.saved_tensors
        return grad_output * gradient, None, None, None, None, None


def causal_invariance_loss(
    z: Tensor,
    z_target: Tensor,
    support: Tensor,
    tau: float = 0.12,
    tau_target: float = 0.04,
    chunk_size: int | None = None,
) -> Tensor:
    """Cross-entropy between the relational distributions of target and student (Eq. 1 and 2), mean over rows.

    p_t(z; Q)[k] = softmax_k(z . q_k / t) and the loss of a row is - sum_k p_tau_target(z_target; Q)[k] log
    p_tau(z; Q)[k]. Only ``z`` takes a gradient. Half precision is computed in float32, under autocast too.

    Memory: for chunks of n rows at most 3 n K + 2 N d numbers at a time besides the arguments, against about
    6 N K of the plain form. By default n = d / 2: the chunk takes one and a half times the memory of the support.

    Args:
        z: (N, d), unit rows: the student's embeddings.
        z_target: (N, d), unit rows: the target encoder's embeddings of the other view.
        support: (K, d), unit rows: the queue Q.
        tau: temperature of the student, above 0.
        tau_target: temperature of the target, above 0; sharper than ``tau`` in the paper.
        chunk_size: rows whose (n, K) distributions are held at once; no influence on the value.

    Returns:
        A scalar.

    Raises:
        ValueError: a shape does not fit, or a temperature or the chunk size is not positive.

    Source: GCISG (ECCV 2022), Eq. 1 and 2.
    """
    _check_rows(z=z, z_target=z_target, support=support)
    if chunk_size is None:
        chunk_size = max(1, z.shape[1] // 2)
    _check_positive(tau=tau, tau_target=tau_target, chunk_size=chunk_size)
    with torch.autocast(z.device.type, enabled=False):
        rows, target, keys = _full_precision(z, z_target.detach(), support.detach())
        loss: Tensor = _RelationalCrossEntropy.apply(rows, target, keys, tau, tau_target, chunk_size)
        return loss


def info_nce_loss(anchor: Tensor, positive: Tensor, negatives: Tensor, tau: float = 0.07) -> Tensor:
    """-log of exp(z . z+ / tau) against itself and the sum over the negatives of exp(z . q / tau), mean over rows.

    Args:
        anchor: (N, d), unit rows: takes the gradient.
        positive: (N, d), unit rows; detached.
        negatives: (K, d), unit rows: the queue; copied, so that it may change before the backward pass.
        tau: temperature, above 0.

    Returns:
        A scalar.

    Raises:
        ValueError: a shape does not fit, or the temperature is not positive.

    Source: CSG (ICLR 2021), Eq. 2; GCISG (ECCV 2022), Table 5.
    """
    _check_rows(anchor=anchor, positive=positive, negatives=negatives)
    _check_positive(tau=tau)
    with torch.autocast(anchor.device.type, enabled=False):
        rows, partner, others = _full_precision(anchor, positive.detach(), negatives.detach().clone())
        similarity = torch.cat([torch.linalg.vecdot(rows, partner).unsqueeze(1), rows @ others.T], dim=1)
        return F.cross_entropy(similarity / tau, similarity.new_zeros(len(rows), dtype=torch.long))


def guidance_loss(
    student: Tensor,
    reference: Tensor,
    pooling: str | Pooling = "self_attention",
    reduction: str = "batch_mean",
    *,
    mask: Tensor | None = None,
) -> Tensor:
    """Distance between the pooled and normalised features of student and reference (Eq. 5 and 8).

    With u = P(student) / |P(student)| and w alike of the reference, ``"batch_mean"`` is the mean over the batch
    of |u - w|^2, in [0, 4], and ``"frobenius"`` the norm of the whole (B, D) difference matrix, neither squared
    nor averaged, as in the authors' code.

    Args:
        student: (B, C, H, W): takes the gradient.
        reference: (B, C, H, W): detached.
        pooling: a name of :data:`gcisg_core.pooling.POOLINGS` or a function of the same form.
        reduction: ``"batch_mean"`` or ``"frobenius"``.
        mask: (B, H, W), False at positions that are padding.

    Returns:
        A scalar.

    Raises:
        ValueError: a shape does not fit, or a name is unknown.

    Source: GCISG (ECCV 2022), Eq. 5 and 8.
    """
    if student.shape != reference.shape:
        raise ValueError(
            f"reference must have the shape of student {tuple(student.shape)}, got {tuple(reference.shape)}"
        )
    pool = choose(POOLINGS, pooling, "pooling") if isinstance(pooling, str) else pooling
    reduce = choose(REDUCTIONS, reduction, "reduction")
    with torch.autocast(student.device.type, enabled=False):
        u, w = (F.normalize(pool(features, mask=mask)) for features in _full_precision(student, reference.detach()))
        return reduce(u - w)


REDUCTIONS: dict[str, Callable[[Tensor], Tensor]] = {
    "batch_mean": lambda difference: difference.square().sum(dim=1).mean(),
    "frobenius": torch.linalg.matrix_norm,
}
