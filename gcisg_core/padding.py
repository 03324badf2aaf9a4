"""Masks for padded batches: images of different sizes are padded on the right and at the bottom to one size."""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor


def padding_mask(images: Tensor, sizes: Sequence[Sequence[int]]) -> Tensor | None:
    """Return a mask (B, H, W), False in the padding of images of these sizes; None if there is no padding.

    Args:
        images: (B, 3, H, W), the padded batch.
        sizes: (height, width) of each image, before padding.
    """
    height, width = images.shape[-2:]
    if all(tuple(size) == (height, width) for size in sizes):
        return None
    # Made on the device: a copy from the host would wait for it.
    rows = torch.arange(height, device=images.device)[:, None]
    columns = torch.arange(width, device=images.device)
    return torch.stack([(rows < size[0]) & (columns < size[1]) for size in sizes])


def mask_at(mask: Tensor | None, features: Tensor) -> Tensor | None:
    """The mask of the images (B, H, W) at the resolution of a feature map (B, C, h, w): (B, h, w)."""
    if mask is None:
        return None
    size = features.shape[-2:]
    return F.interpolate(mask.unsqueeze(1).float(), size=size, mode="nearest").squeeze(1) > 0


def masked_mean(values: Tensor, inside: Tensor | None) -> Tensor:
    """Mean of the values where a mask of the same shape is True; of all without a mask."""
    return values.mean() if inside is None else torch.where(inside, values, 0).sum() / inside.sum()
