"""Channel order of images: RGB in this package; the loader of a framework may give BGR."""

from __future__ import annotations

from collections.abc import Callable

from torch import Tensor


def swap_bgr(images: Tensor, is_bgr: bool = True) -> Tensor:
    """Swap RGB and BGR in images (..., 3, H, W) if ``is_bgr``; otherwise return them unchanged."""
    return images.flip(-3) if is_bgr else images


def in_rgb(change: Callable[[Tensor], Tensor], images: Tensor, is_bgr: bool) -> Tensor:
    """Apply a change that expects RGB to images (..., 3, H, W); their channel order is kept."""
    return swap_bgr(change(swap_bgr(images, is_bgr)), is_bgr)
