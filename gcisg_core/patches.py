"""Cut feature maps into patches (the dense form, GCISG Eq. 4)."""

from __future__ import annotations

from collections.abc import Sequence

import torch.nn.functional as F
from torch import Tensor


def _check(features: Tensor, patches: tuple[int, int]) -> None:
    height, width = features.shape[-2:]
    if height < patches[0] or width < patches[1]:
        raise ValueError(
            f"a feature map of {height} x {width} positions cannot be cut into {patches[0]} x {patches[1]} patches; "
            f"use larger crops, fewer patches or an earlier stage"
        )


def pool_patches(features: Tensor, patches: tuple[int, int], mask: Tensor | None = None) -> Tensor:
    """The mean feature of every patch of every image, (B ph pw, C), images first, then rows, then columns.

    Where the size is not a multiple of ph x pw, neighbouring patches share a row or column
    (:func:`torch.nn.functional.adaptive_avg_pool2d`).

    Args:
        features: (B, C, H, W).
        patches: (ph, pw).
        mask: (B, H, W), False in the padding. Patches that are all padding are left out of the result; to find them the
            host waits for the device.

    Raises:
        ValueError: the map has fewer positions than patches.
    """
    pooled, inside = pool_all_patches(features, patches, mask)
    # No image is all padding.
    return pooled if inside is None or patches == (1, 1) else pooled[inside]


def pool_all_patches(
    features: Tensor, patches: tuple[int, int], mask: Tensor | None = None
) -> tuple[Tensor, Tensor | None]:
    """:func:`pool_patches` with those that are all padding, as zeros, and (B ph pw,), False for these.

    The second is None without a mask.
    """
    _check(features, patches)
    if mask is None:
        return F.adaptive_avg_pool2d(features, patches).flatten(2).transpose(1, 2).flatten(0, 1), None
    weights = mask.unsqueeze(1).to(features.dtype)
    pooled = F.adaptive_avg_pool2d(features * weights, patches).flatten(2).transpose(1, 2).flatten(0, 1)
    share = F.adaptive_avg_pool2d(weights, patches).flatten()
    return pooled / share.masked_fill(share == 0, 1)[:, None], share > 0


def cut_patches(features: Tensor, patches: tuple[int, int]) -> Tensor:
    """The patches as feature maps of their own, (B ph pw, C, h, w), in the order of :func:`pool_patches`.

    A map whose size is not a multiple of ph x pw is resampled (bilinear) to the next multiple.

    Args:
        features: (B, C, H, W).
        patches: (ph, pw).

    Raises:
        ValueError: the map has fewer positions than patches.
    """
    _check(features, patches)
    rows, columns = patches
    height, width = (-(-size // count) for size, count in zip(features.shape[-2:], patches, strict=True))
    if features.shape[-2:] != (height * rows, width * columns):
        features = F.interpolate(features, size=(height * rows, width * columns), mode="bilinear", align_corners=False)
    cut = features.unflatten(3, (columns, width)).unflatten(2, (rows, height))
    return cut.permute(0, 2, 4, 1, 3, 5).flatten(0, 2)


def cut_alike(
    maps: Sequence[Tensor], patches: tuple[int, int], mask: Tensor | None = None
) -> tuple[list[Tensor], Tensor | None]:
    """:func:`cut_patches` of maps (B, C, H, W) of one size, and of what is padding in all of them.

    Args:
        maps: Of the same images.
        patches: (ph, pw).
        mask: (B, H, W), False in the padding. Patches that are all padding are left out of the result; to find them the
            host waits for the device.

    Returns:
        The patches of each map (N, C, h, w), and their mask (N, h, w); None without a mask.

    Raises:
        ValueError: the maps have fewer positions than patches.
    """
    if patches == (1, 1):  # no image is all padding
        return list(maps), mask
    if mask is None:
        return [cut_patches(features, patches) for features in maps], None
    inside = mask.unsqueeze(1)
    share = cut_patches(inside.to(maps[0].dtype), patches)
    kept = share.flatten(1).any(dim=1)
    share = share[kept]
    # Where a map is resampled, padding has no share in its neighbours' values.
    weight = share.masked_fill(share == 0, 1)
    return [cut_patches(features * inside, patches)[kept] / weight for features in maps], share.squeeze(1) > 0
