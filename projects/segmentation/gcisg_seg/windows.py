"""The parts of an image that a segmentor of mmseg sees at once in prediction."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from gcisg_core.feature_tap import Features, StageTap

Window = tuple[slice, slice]
# Of a backbone of one size of images.
REMEDY = (
    "crop or resize images to it in the pipeline, or let the test predict in windows of it: "
    'model.test_cfg=dict(mode="slide", crop_size={size}, stride={size})'
)


def windows(test_cfg: Mapping[str, Any] | None, size: Sequence[int]) -> list[Window]:
    """Rows and columns of each of mmseg's sliding windows, which overlap; all of the image in other modes.

    Args:
        test_cfg: The segmentor's: ``mode``, and for ``slide`` ``crop_size`` and ``stride``, both (rows, columns).
        size: Of the image, (H, W).
    """
    if not test_cfg or test_cfg.get("mode") != "slide":
        return [(slice(0, size[0]), slice(0, size[1]))]
    rows, columns = map(_parts, size, test_cfg["crop_size"], test_cfg["stride"])
    return [(row, column) for row in rows for column in columns]


def _parts(size: int, crop: int, stride: int) -> list[slice]:
    """The last part ends with the image; an image smaller than a window is one part."""
    room = max(size - crop, 0)
    starts = (min(start, room) for start in range(0, room + stride, stride))
    return [slice(start, min(start + crop, size)) for start in starts]


def run_windows(tap: StageTap, backbone: nn.Module, images: Tensor, parts: Sequence[Window]) -> Features:
    """The features of each part of images (B, 3, H, W), side by side: means over positions are those over all parts."""
    passes = [tap.run(backbone, images[..., rows, columns]) for rows, columns in parts]
    return {stage: torch.cat([features[stage] for features in passes], dim=3) for stage in passes[0]}
