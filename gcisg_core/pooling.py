"""Poolings of a feature map, as terms of the guidance loss (GCISG, Section 3.2 and Fig. 3).

Shapes: B images, C channels, H x W positions. Each pooling returns one vector for each image. A ``mask``
(B, H, W), True where the image is and False in the padding of a batch, keeps padded positions out.
"""

from __future__ import annotations

from typing import Protocol

import torch
from torch import Tensor


class Pooling(Protocol):
    """A pooling takes (B, C, H, W) features and returns (B, D)."""

    def __call__(self, features: Tensor, *, mask: Tensor | None = None) -> Tensor: ...


def _check(features: Tensor, mask: Tensor | None) -> None:
    if features.ndim != 4:
        raise ValueError(f"features must have the shape (B, C, H, W), got {tuple(features.shape)}")
    expected = (features.shape[0], *features.shape[2:])
    if mask is not None and tuple(mask.shape) != expected:
        raise ValueError(f"mask must have the shape (B, H, W) = {expected}, got {tuple(mask.shape)}")


def _masked(features: Tensor, mask: Tensor | None) -> Tensor:
    _check(features, mask)
    return features if mask is None else features * mask.unsqueeze(1)


def self_attention_pool(
    features: Tensor, attention_from: Tensor | None = None, *, mask: Tensor | None = None
) -> Tensor:
    """Weigh every position by its similarity to the image's mean feature (Eq. 6 and 7).

    With g the mean over positions, a[h, w] = <v[:, h, w], g> / sum <v, g> and the result is
    sum_hw v[:, h, w] a[h, w]. The attention is not detached. The normaliser equals H W |g|^2: it is never
    negative. Features below zero (transformers, FPN outputs) give some positions negative weights, which still
    sum to one. If g vanishes against the features, so that the weights would grow without bound, the image is
    pooled by its plain mean instead. The result is finite for all finite features.

    Args:
        features: (B, C, H, W), pooled.
        attention_from: (B, C, H, W), the features whose attention is used; by default ``features``. CSG's A-pool passes
            the student's here, to pool the reference's.
        mask: (B, H, W), False at padded positions.

    Returns:
        (B, C).

    Raises:
        ValueError: a shape does not fit.

    Source: GCISG (ECCV 2022), Eq. 6 and 7; A-pool: CSG (ICLR 2021), Section 3.4.
    """
    values = _masked(features, mask)
    keys = values
    if attention_from is not None:
        if attention_from.shape != features.shape:
            raise ValueError(
                f"attention_from must have the shape of features {tuple(features.shape)}, got "
                f"{tuple(attention_from.shape)}"
            )
        keys = _masked(attention_from, mask)
    return torch.einsum("bchw,bhw->bc", values, _attention(keys, mask))


def self_attention(features: Tensor, *, mask: Tensor | None = None) -> Tensor:
    """The weights a (B, H, W) of :func:`self_attention_pool`; they sum to one over an image's positions."""
    return _attention(_masked(features, mask), mask)


def _attention(keys: Tensor, mask: Tensor | None) -> Tensor:
    # The scale of g cancels in the attention, so the sum over positions serves as the mean.
    total = keys.sum(dim=(2, 3))
    scores = torch.einsum("bchw,bc->bhw", keys, total)
    normaliser = total.square().sum(dim=1)[:, None, None]
    with torch.no_grad():
        positions = keys.shape[2] * keys.shape[3] if mask is None else mask.sum(dim=(1, 2))[:, None, None]
        largest = positions * keys.square().sum(dim=(1, 2, 3))[:, None, None]  # Cauchy-Schwarz
        degenerate = normaliser <= torch.finfo(keys.dtype).eps * largest
    return torch.where(degenerate, 1.0 / positions, scores / normaliser.masked_fill(degenerate, 1.0))


def global_average_pool(features: Tensor, *, mask: Tensor | None = None) -> Tensor:
    """Mean over positions: (B, C, H, W) -> (B, C)."""
    _check(features, mask)
    if mask is None:
        return features.mean(dim=(2, 3))
    return _masked(features, mask).sum(dim=(2, 3)) / mask.sum(dim=(1, 2)).clamp(min=1)[:, None]


def channel_pool(features: Tensor, *, mask: Tensor | None = None) -> Tensor:
    """Mean over channels: (B, C, H, W) -> (B, H W). PODNet's channel term."""
    return _masked(features, mask).mean(dim=1).flatten(1)


def spatial_pool(features: Tensor, *, mask: Tensor | None = None) -> Tensor:
    """Mean over the width and mean over the height, joined: (B, C, H, W) -> (B, C (H + W)). PODNet's spatial term.

    PODNet takes sums instead of means. On a square map the normalised vectors are the same; on others, sums would give
    more weight to the half that adds more positions, while means weigh both halves alike.
    """
    values = _masked(features, mask)
    if mask is None:
        return torch.cat([values.mean(dim=3).flatten(1), values.mean(dim=2).flatten(1)], dim=1)
    rows = values.sum(dim=3) / mask.sum(dim=2).clamp(min=1)[:, None]
    columns = values.sum(dim=2) / mask.sum(dim=1).clamp(min=1)[:, None]
    return torch.cat([rows.flatten(1), columns.flatten(1)], dim=1)


def no_pool(features: Tensor, *, mask: Tensor | None = None) -> Tensor:
    """No pooling, every position is kept: (B, C, H, W) -> (B, C H W)."""
    return _masked(features, mask).flatten(1)


def squared(pool: Pooling) -> Pooling:
    """The pooling of the squared features: PODNet squares before it pools, so that strong activations count more."""

    def pool_squares(features: Tensor, *, mask: Tensor | None = None) -> Tensor:
        return pool(features.square(), mask=mask)

    return pool_squares


# PODNet's terms exist both ways. GCISG takes them over for Fig. 4 without a word of squares, and its Eq. 5 pools the
# features themselves, so the plain names do not square.
POOLINGS: dict[str, Pooling] = {
    "self_attention": self_attention_pool,
    "global_average": global_average_pool,
    "channel": channel_pool,
    "spatial": spatial_pool,
    "channel_squared": squared(channel_pool),
    "spatial_squared": squared(spatial_pool),
    "none": no_pool,
}
