"""The windows of an image that a sliding-window segmentor of mmseg sees one at a time in prediction."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from gcisg_core.feature_tap import Features, StageTap

Window = tuple[slice, slice]
# For a backbone with a fixed image size.
REMEDY = (
    "crop or resize images to it in the pipeline, or let the test predict in windows of it: "
    'model.test_cfg=dict(mode="slide", crop_size={size}, stride={size})'
)


def windows(test_cfg: Mapping[str, Any] | None, size: Sequence[int]) -> list[Window]:
    """Rows and columns of mmseg's sliding windows, which may overlap; in other modes, the whole image.

    Args:
        test_cfg: The segmentor's ``test_cfg``: ``mode``, and for ``slide`` ``crop_size`` and ``stride``, both (rows,
            columns).
        size: Size of the image, (H, W).
    """
    if not test_cfg or test_cfg.get("mode") != "slide":
        return [(slice(0, size[0]), slice(0, size[1]))]
    rows, columns = map(_parts, size, test_cfg["crop_size"], test_cfg["stride"])
    return [(row, column) for row in rows for column in columns]


def _parts(size: int, crop: int, stride: int) -> list[slice]:
    """The parts along one side. The last one ends at the image's edge; an image smaller than a window is one part."""
    room = max(size - crop, 0)
    starts = (min(start, room) for start in range(0, room + stride, stride))
    return [slice(start, min(start + crop, size)) for start in starts]


def run_windows(tap: StageTap, backbone: nn.Module, images: Tensor, parts: Sequence[Window]) -> Features:
    """The features of all parts of images (B, 3, H, W), concatenated along the width: a mean covers all parts."""
    passes = [tap.run(backbone, images[..., rows, columns]) for rows, columns in parts]
    return {stage: torch.cat([features[stage] for features in passes], dim=3) for stage in passes[0]}
