"""Segmentors of MMSegmentation with a method of :mod:`gcisg_core.regularizers` beside them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from mmseg.models.segmentors import CascadeEncoderDecoder, EncoderDecoder
from mmseg.registry import MODELS
from torch import Tensor

from gcisg_core.backbone_plugins import apply_backbone_plugins
from gcisg_core.old_names import accept_old_arguments
from gcisg_core.padding import padding_mask
from gcisg_core.regularizers import build_regularizer
from gcisg_seg.layouts import IGNORED
from gcisg_seg.preprocessor import PhotometricSegDataPreProcessor


@accept_old_arguments
class SynToRealMixin:
    """Adds a method to a segmentor; comes before it in the bases of a class.

    The segmentor's own ``loss`` runs once, on the task's view. The other view goes through the backbone alone.

    Args:
        *args: The segmentor's.
        regularizer: ``method`` and its settings, see :func:`gcisg_core.regularizers.build_regularizer`.
        backbone_plugins: Name -> value, see :func:`gcisg_core.backbone_plugins.apply_backbone_plugins`.
        **kwargs: The segmentor's.

    Raises:
        ValueError: the preprocessor is told to draw fewer views than the method needs.
    """

    def __init__(
        self,
        *args: Any,
        regularizer: Mapping[str, Any] | None = None,
        backbone_plugins: Mapping[str, Any] | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(*args, **kwargs)
        apply_backbone_plugins(self.backbone, backbone_plugins)  # type: ignore[attr-defined]
        self.regularizer = build_regularizer(self.backbone, regularizer)  # type: ignore[attr-defined]
        preprocessor: Any = self.data_preprocessor  # type: ignore[attr-defined]
        if isinstance(preprocessor, PhotometricSegDataPreProcessor):
            preprocessor.follow(regularizer)

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
        self._mark_ignored(data_samples)
        losses, metrics = self.regularizer.step(
            views,
            lambda: segmentor.loss(views[self.regularizer.settings.task_view], data_samples),
            # Padding shows nothing, so a method neither aligns nor pools it; the task ignores it by its label.
            padding_mask(views[0], [s.metainfo.get("img_shape", views[0].shape[-2:])[:2] for s in data_samples]),
        )
        return losses | metrics

    def _mark_ignored(self, data_samples: Sequence[Any]) -> None:
        """Give pixels without a class, 255 in data and padding, the `ignore_index` of a head that has another."""
        head: Any = self.decode_head  # type: ignore[attr-defined]
        ignored = (head if hasattr(head, "ignore_index") else head[-1]).ignore_index
        if ignored != IGNORED:
            for labels in (sample.gt_sem_seg for sample in data_samples):
                labels.data = labels.data.masked_fill(labels.data == IGNORED, ignored)


@MODELS.register_module()
class SynToRealEncoderDecoder(SynToRealMixin, EncoderDecoder):
    """`EncoderDecoder` with a method."""


@MODELS.register_module()
class SynToRealCascadeEncoderDecoder(SynToRealMixin, CascadeEncoderDecoder):
    """`CascadeEncoderDecoder` with a method."""
