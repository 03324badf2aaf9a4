"""Segmentors of MMSegmentation with a method of :mod:`gcisg_core.regularizers` beside them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from mmseg.models.segmentors import CascadeEncoderDecoder, EncoderDecoder
from mmseg.registry import MODELS
from torch import Tensor

from gcisg_core.regularizers import build_regularizer


class SynToRealMixin:
    """Adds a method to a segmentor; comes before it in the bases of a class.

    The segmentor's own ``loss`` runs once, on the task's view. The other view goes through the backbone alone.

    Args:
        *args: The segmentor's.
        regularizer: ``method`` and its settings, see :func:`gcisg_core.regularizers.build_regularizer`.
        **kwargs: The segmentor's.
    """

    def __init__(self, *args: Any, regularizer: Mapping[str, Any] | None = None, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.regularizer = build_regularizer(self.backbone, regularizer)  # type: ignore[attr-defined]

    def loss(self, inputs: Tensor | Sequence[Tensor], data_samples: Sequence[Any]) -> dict[str, Tensor]:
        """All losses and metrics by name; mmengine sums what is called a loss and logs the rest.

        Args:
            inputs: (B, 3, H, W), or several views of the same images in the same geometry (see
                :class:`gcisg_seg.preprocessor.PhotometricSegDataPreProcessor`).
            data_samples: One `SegDataSample` an image.

        Raises:
            ValueError: the method needs more views than there are.
        """
        views = [inputs] if isinstance(inputs, Tensor) else list(inputs)
        segmentor: Any = super()
        losses, metrics = self.regularizer.step(
            views,
            lambda: segmentor.loss(views[self.regularizer.settings.task_view], data_samples),
            padding_mask(views[0], data_samples),
        )
        return losses | metrics


def padding_mask(images: Tensor, data_samples: Sequence[Any]) -> Tensor | None:
    """(B, H, W), False where `SegDataPreProcessor` padded on the right and below; None if nothing is padded.

    Padding shows nothing, so a method neither aligns nor pools it; the task ignores it by its label.
    """
    height, width = images.shape[-2:]
    sizes = [sample.metainfo.get("img_shape", (height, width))[:2] for sample in data_samples]
    if all(tuple(size) == (height, width) for size in sizes):
        return None
    rows, columns = torch.tensor(sizes, device=images.device)[:, :, None, None].unbind(1)
    inside_rows = torch.arange(height, device=images.device)[:, None] < rows
    return inside_rows & (torch.arange(width, device=images.device) < columns)


@MODELS.register_module()
class SynToRealEncoderDecoder(SynToRealMixin, EncoderDecoder):
    """`EncoderDecoder` with a method."""


@MODELS.register_module()
class SynToRealCascadeEncoderDecoder(SynToRealMixin, CascadeEncoderDecoder):
    """`CascadeEncoderDecoder` with a method."""
