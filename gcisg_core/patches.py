"""Cut feature maps into a grid of cells (the dense form, GCISG Eq. 4)."""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor


def _check(features: Tensor, grid: tuple[int, int]) -> None:
    height, width = features.shape[-2:]
    if height < grid[0] or width < grid[1]:
        raise ValueError(
            f"a feature map of {height} x {width} positions cannot be cut into {grid[0]} x {grid[1]} cells; use "
            f"larger crops, a smaller grid or an earlier stage"
        )


def pool_cells(features: Tensor, grid: tuple[int, int], mask: Tensor | None = None) -> Tensor:
    """The mean feature of every cell of every image, (B ph pw, C), images first, then rows, then columns.

    Where the size is no multiple of the grid, neighbouring cells share a row or column
    (:func:`torch.nn.functional.adaptive_avg_pool2d`).

    Args:
        features: (B, C, H, W).
        grid: (ph, pw).
        mask: (B, H, W), False in the padding. Cells that are all padding are left out of the result.

    Raises:
        ValueError: the map is smaller than the grid.
    """
    _check(features, grid)
    if mask is None:
        return F.adaptive_avg_pool2d(features, grid).flatten(2).transpose(1, 2).flatten(0, 1)
    weights = mask.unsqueeze(1).to(features.dtype)
    cells = F.adaptive_avg_pool2d(features * weights, grid).flatten(2).transpose(1, 2).flatten(0, 1)
    share = F.adaptive_avg_pool2d(weights, grid).flatten()
    valid = share > 0
    return cells[valid] / share[valid, None]


def cut_cells(features: Tensor, grid: tuple[int, int]) -> Tensor:
    """The cells as feature maps of their own, (B ph pw, C, h, w), in the order of :func:`pool_cells`.

    A map whose size is no multiple of the grid is resampled (bilinear) to the next multiple.

    Args:
        features: (B, C, H, W).
        grid: (ph, pw).

    Raises:
        ValueError: the map is smaller than the grid.
    """
    _check(features, grid)
    rows, columns = grid
    height, width = (-(-size // cells) for size, cells in zip(features.shape[-2:], grid, strict=True))
    if features.shape[-2:] != (height * rows, width * columns):
        features = F.interpolate(features, size=(height * rows, width * columns), mode="bilinear", align_corners=False)
    cells = features.unflatten(3, (columns, width)).unflatten(2, (rows, height))
    return cells.permute(0, 2, 4, 1, 3, 5).flatten(0, 2)
