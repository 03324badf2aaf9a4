"""Where the images of a batch end: a batch of unequal images is padded on the right and below to one size."""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor


def padding_mask(images: Tensor, sizes: Sequence[Sequence[int]]) -> Tensor | None:
    """(B, H, W), False where images of these sizes were padded; None if none was.

    Args:
        images: (B, 3, H, W), the padded batch.
        sizes: (height, width) of each image, before padding.
    """
    height, width = images.shape[-2:]
    if all(tuple(size) == (height, width) for size in sizes):
        return None
    rows, columns = torch.tensor([tuple(size) for size in sizes], device=images.device)[:, :, None, None].unbind(1)
    inside = torch.arange(height, device=images.device)[:, None] < rows
    return inside & (torch.arange(width, device=images.device) < columns)


def mask_at(mask: Tensor | None, features: Tensor) -> Tensor | None:
    """The mask of the images (B, H, W) at the resolution of a feature map (B, C, h, w): (B, h, w)."""
    if mask is None:
        return None
    size = features.shape[-2:]
    return F.interpolate(mask.unsqueeze(1).float(), size=size, mode="nearest").squeeze(1) > 0
