"""The losses on plain tensors. N rows, d dimensions, K support vectors; features are (B, C, H, W)."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.autograd.function import once_differentiable

from gcisg_core.lookup import choose
from gcisg_core.patches import cut_alike
from gcisg_core.pooling import POOLINGS, Pooling
from gcisg_core.precision import full_precision

LOG2_E = math.log2(math.e)


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


# Rows x keys of a tile of similarities: it stays in a CPU's cache; a GPU is busy only with whole queues
# of the usual length, in up to 128 MB (benchmarks/results/gpu.md).
TILES = {"cpu": (512, 256)}
LARGE_TILE = (512, 65536)
# Within these, a sum of powers of 2 has neither overflowed nor lost terms that matter; float32 ends at 1e+-38.
SAFE_SUMS = (1e-20, 1e30)


def _attend(keys: Tensor, *rows_and_tau: tuple[Tensor, float]) -> tuple[Tensor, Tensor]:
    """Softmax of the rows' similarities to the keys, tile by tile: its log normaliser and the mean key under it.

    With s_k = row . q_k / tau: (N,) log sum_k exp(s_k) and (N, d) sum_k softmax(s)_k q_k. Rows of several temperatures
    are joined: with few rows, reading the keys takes most of the time.
    """
    scaled = torch.cat([rows * (LOG2_E / tau) for rows, tau in rows_and_tau])
    row_tile, key_tile = TILES.get(scaled.device.type, LARGE_TILE)
    log_normalisers, means = [], []
    for block in scaled.split(row_tile):
        shift, total, weighted = _sums(block, keys, key_tile)
        log_normalisers.append((shift + total.log2()).squeeze(1) / LOG2_E)
        means.append(weighted / total)
    return torch.cat(log_normalisers), torch.cat(means)


def _sums(block: Tensor, keys: Tensor, key_tile: int) -> tuple[Tensor, Tensor, Tensor]:
    """With s_k = row . q_k: (n, 1) a shift of s, (n, 1) sum_k 2^(s_k - shift) and (n, d) sum_k 2^(s_k - shift) q_k.

    Unit rows at usual temperatures need no shift, which saves a CPU 5 % of the time. Elsewhere, a check for that
    would synchronise with the host, or break a compiled graph.
    """
    if block.device.type == "cpu" and not torch.compiler.is_compiling():
        shift, total, weighted = _sums_relative_to(torch.zeros_like(block[:, :1]), block, keys, key_tile)
        if total.min() > SAFE_SUMS[0] and total.max() < SAFE_SUMS[1]:
            return shift, total, weighted
    lowest = torch.full_like(block[:, :1], -torch.inf)
    return _sums_relative_to(lowest, block, keys, key_tile, follow_largest=True)


def _sums_relative_to(
    shift: Tensor, block: Tensor, keys: Tensor, key_tile: int, follow_largest: bool = False
) -> tuple[Tensor, Tensor, Tensor]:
    """The sums for this (n, 1) shift, or, as in FlashAttention, for the largest s, which is safe at any temperature."""
    total, weighted = torch.zeros_like(shift), torch.zeros_like(block)
    scores = block.new_empty(len(block), key_tile)
    for tile in keys.split(key_tile):
        weights = torch.mm(block, tile.T, out=scores if len(tile) == key_tile else None)
        if follow_largest:
            largest = torch.maximum(shift, weights.amax(dim=1, keepdim=True))
            shrink = (shift - largest).exp2_()
            total.mul_(shrink)
            weighted.mul_(shrink)
            weights.sub_(largest)
            shift = largest
        weights.exp2_()  # on a CPU, exp2 takes half of the time of exp
        total.add_(weights.sum(dim=1, keepdim=True))
        weighted.addmm_(weights, tile)
    return shift, total, weighted


class _WithGradient(torch.autograd.Function):
    """A value with a known gradient in the rows: nothing of its computation is kept for the backward pass."""

    @staticmethod
    def forward(ctx: Any, rows: Tensor, value: Tensor, gradient: Tensor) -> Tensor:
        ctx.save_for_backward(gradient)
        return value.clone()

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad_output: Tensor) -> tuple[Tensor | None, ...]:
        (gradient,) = ctx.saved_tensors
        return grad_output * gradient, None, None


def causal_invariance_loss(
    z: Tensor, z_momentum: Tensor, support: Tensor, tau: float = 0.12, tau_momentum: float = 0.04
) -> Tensor:
    """Cross-entropy between the relational distributions of momentum encoder and student (Eq. 1 and 2), mean over rows.

    p_t(z; Q)[k] = softmax_k(z . q_k / t) and the loss of a row is - sum_k p_tau_m(z_momentum; Q)[k] log
    p_tau(z; Q)[k]. Only ``z`` takes a gradient, (p_tau - p_tau_m) Q / tau, which is formed along with the value
    (see :func:`_attend`): no N x K numbers are ever held. Half precision is computed in float32, under autocast too.

    Args:
        z: (N, d), unit rows: the student's embeddings.
        z_momentum: (N, d), unit rows: the momentum encoder's embeddings of the other view.
        support: (K, d), unit rows: the queue Q.
        tau: temperature of the student, above 0.
        tau_momentum: temperature of the momentum encoder, above 0; sharper than ``tau`` in the paper.

    Returns:
        A scalar.

    Raises:
        ValueError: a shape does not fit, or a temperature is not positive.

    Source: GCISG (ECCV 2022), Eq. 1 and 2.
    """
    _check_rows(z=z, z_momentum=z_momentum, support=support)
    _check_positive(tau=tau, tau_momentum=tau_momentum)
    with torch.autocast(z.device.type, enabled=False):
        rows, partner, keys = map(full_precision, (z, z_momentum.detach(), support.detach()))
        with torch.no_grad():
            log_normalisers, mean_keys = _attend(keys, (rows, tau), (partner, tau_momentum))
            log_normaliser, (mean_key, mean_key_momentum) = log_normalisers[: len(rows)], mean_keys.chunk(2)
            # - sum_k p_momentum[k] log p[k], since the mean similarity is the similarity to the mean key.
            value = (log_normaliser - torch.linalg.vecdot(rows, mean_key_momentum) / tau).mean()
            gradient = (mean_key - mean_key_momentum) / (tau * len(rows))
        loss: Tensor = _WithGradient.apply(rows, value, gradient)
        return loss


def info_nce_loss(anchor: Tensor, positive: Tensor, negatives: Tensor, tau: float = 0.07) -> Tensor:
    """InfoNCE: -log(exp(z . z+ / tau) / (exp(z . z+ / tau) + sum over negatives of exp(z . q / tau))), mean over rows.

    Only ``anchor`` takes a gradient. Precision and memory are those of :func:`causal_invariance_loss`.

    Args:
        anchor: (N, d), unit rows.
        positive: (N, d), unit rows.
        negatives: (K, d), unit rows: the queue.
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
        rows, partner, keys = map(full_precision, (anchor, positive.detach(), negatives.detach()))
        with torch.no_grad():
            log_negatives, mean_key = _attend(keys, (rows, tau))
            # The log odds of the negatives against the positive.
            odds = log_negatives - torch.linalg.vecdot(rows, partner) / tau
            gradient = odds.sigmoid().unsqueeze(1) * (mean_key - partner) / (tau * len(rows))
        loss: Tensor = _WithGradient.apply(rows, F.softplus(odds).mean(), gradient)
        return loss


def guidance_loss(
    student: Tensor,
    reference: Tensor,
    pooling: str | Pooling = "self_attention",
    reduction: str = "batch_mean",
    *,
    mask: Tensor | None = None,
    patches: tuple[int, int] = (1, 1),
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
        patches: (ph, pw), cells of each map that are pooled and compared like images: N = B ph pw, without cells that
            are all padding, replaces B. Ours; in the paper the whole map is one cell.

    Returns:
        A scalar.

    Raises:
        ValueError: a shape does not fit, the maps have fewer positions than patches, or a name is unknown.

    Source: GCISG (ECCV 2022), Eq. 5 and 8.
    """
    if student.shape != reference.shape:
        raise ValueError(
            f"reference must have the shape of student {tuple(student.shape)}, got {tuple(reference.shape)}"
        )
    pool = choose(POOLINGS, pooling, "pooling") if isinstance(pooling, str) else pooling
    reduce = choose(REDUCTIONS, reduction, "reduction")
    with torch.autocast(student.device.type, enabled=False):
        maps = [full_precision(features) for features in (student, reference.detach())]
        cells, inside = cut_alike(maps, patches, mask)
        u, w = (F.normalize(pool(cell, mask=inside)) for cell in cells)
        return reduce(u - w)


REDUCTIONS: dict[str, Callable[[Tensor], Tensor]] = {
    "batch_mean": lambda difference: difference.square().sum(dim=1).mean(),
    "frobenius": torch.linalg.matrix_norm,
}
