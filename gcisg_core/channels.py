"""The order of an image's channels: ours is RGB; a framework's loader may give BGR."""

from __future__ import annotations

from collections.abc import Callable

from torch import Tensor


def swap_bgr(images: Tensor, is_bgr: bool = True) -> Tensor:
    """RGB images (..., 3, H, W) of BGR ones, or the other way round; unless ``is_bgr``, as they are."""
    return images.flip(-3) if is_bgr else images


def in_rgb(change: Callable[[Tensor], Tensor], images: Tensor, is_bgr: bool) -> Tensor:
    """Images (..., 3, H, W) after a change that wants RGB, in the order that they had."""
    return swap_bgr(change(swap_bgr(images, is_bgr)), is_bgr)
