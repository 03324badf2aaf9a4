"""Adds a method of :mod:`gcisg_core.regularizers` to any MMSegmentation segmentor."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cache
from typing import Any

import torch
from mmseg.models.segmentors import BaseSegmentor, CascadeEncoderDecoder, EncoderDecoder
from mmseg.registry import MODELS
from torch import Tensor, nn

from gcisg_core.backbone_input import backbone_input
from gcisg_core.backbone_plugins import apply_backbone_plugins
from gcisg_core.config import require
from gcisg_core.integrations.openmmlab import require_parts
from gcisg_core.lookup import unknown_name
from gcisg_core.old_names import accept_old_arguments
from gcisg_core.padding import padding_mask
from gcisg_core.probe import naming_sizes
from gcisg_core.regularizers import build_regularizer
from gcisg_core.stages import BACKBONES, find_backbone
from gcisg_seg.layouts import IGNORED
from gcisg_seg.preprocessor import PhotometricSegDataPreProcessor
from gcisg_seg.windows import REMEDY


@accept_old_arguments
class SynToRealMixin:
    """Adds a method to a segmentor; list it before the segmentor among a class's bases.

    The segmentor's ``loss`` runs once, on the task view. The other view only goes through the backbone.

    Args:
        *args: Arguments of the segmentor.
        regularizer: ``method`` and its settings, see :func:`gcisg_core.regularizers.build_regularizer`.
        backbone_plugins: Name -> value, see :func:`gcisg_core.backbone_plugins.apply_backbone_plugins`.
        **kwargs: Arguments of the segmentor.

    Raises:
        ValueError: the segmentor has no backbone, or the preprocessor draws fewer views than the method needs.
        MissingPackageError: it uses parts of mmdetection or mmpretrain, and that package is not installed.
    """

    def __init__(
        self,
        *args: Any,
        regularizer: Mapping[str, Any] | None = None,
        backbone_plugins: Mapping[str, Any] | None = None,
        **kwargs: Any,
    ) -> None:
        require_parts((args, kwargs))
        super().__init__(*args, **kwargs)
        student: Any = find_backbone(self)  # type: ignore[arg-type]
        expected = f"a module of {parent_of(type(self))}, or {' or '.join(BACKBONES[1:])}"
        require(student is not None, BACKBONES[0], student, expected)
        apply_backbone_plugins(student, backbone_plugins)
        self.regularizer = build_regularizer(student, regularizer)
        preprocessor: Any = self.data_preprocessor  # type: ignore[attr-defined]
        if isinstance(preprocessor, PhotometricSegDataPreProcessor):
            preprocessor.follow(regularizer)

    def forward(self, *args: Any, **kwargs: Any) -> Any:
        """Run the segmentor.

        Raises:
            ValueError: the backbone does not accept images of this size; the message gives the size that it accepts.
        """
        segmentor: Any = super()
        with naming_sizes(self.regularizer.student, REMEDY):
            return segmentor.forward(*args, **kwargs)

    def loss(self, inputs: Tensor | Sequence[Tensor], data_samples: Sequence[Any]) -> dict[str, Tensor]:
        """Return all losses and metrics by name; mmengine sums those with "loss" in the name and logs the rest.

        Args:
            inputs: (B, 3, H, W), or several views of the same images in the same geometry (see
                :class:`gcisg_seg.preprocessor.PhotometricSegDataPreProcessor`).
            data_samples: One `SegDataSample` for each image.

        Raises:
            ValueError: the method needs more views than it gets.
        """
        views = [inputs] if isinstance(inputs, Tensor) else list(inputs)
        segmentor: Any = super()
        self._mark_ignored(data_samples)
        losses, metrics = self.regularizer.step(
            [self._backbone_input(view, data_samples) for view in views],
            lambda: segmentor.loss(views[self.regularizer.settings.task_view], data_samples),
            # Methods neither align nor pool padding; the task ignores it by its label.
            padding_mask(views[0], [s.metainfo.get("img_shape", views[0].shape[-2:])[:2] for s in data_samples]),
        )
        return losses | metrics

    @torch.no_grad()
    def _backbone_input(self, view: Tensor, data_samples: Sequence[Any]) -> Tensor:
        """Return the backbone's input: the view, or what a segmentor with its own preprocessing makes of it."""
        segmentor: Any = super()
        steps = (segmentor.loss.__func__, segmentor.extract_feat.__func__)
        if steps == (EncoderDecoder.loss, EncoderDecoder.extract_feat):
            return view
        student = self.regularizer.student
        return backbone_input(student, lambda: segmentor.loss(view, data_samples), parent_of(type(self)))

    def _mark_ignored(self, data_samples: Sequence[Any]) -> None:
        """Replace 255 (no class, or padding) by the head's `ignore_index` if that differs."""
        head: Any = getattr(self, "decode_head", None)
        ignored = getattr(head[-1] if isinstance(head, nn.ModuleList) else head, "ignore_index", IGNORED)
        if ignored != IGNORED:
            for labels in (sample.gt_sem_seg for sample in data_samples):
                labels.data = labels.data.masked_fill(labels.data == IGNORED, ignored)


@MODELS.register_module()
class SynToRealEncoderDecoder(SynToRealMixin, EncoderDecoder):
    """`EncoderDecoder` with a method."""


@MODELS.register_module()
class SynToRealCascadeEncoderDecoder(SynToRealMixin, CascadeEncoderDecoder):
    """`CascadeEncoderDecoder` with a method."""


def parent_of(kind: type) -> str:
    """Return the name of the segmentor class after :class:`SynToRealMixin`."""
    return kind.__mro__[kind.__mro__.index(SynToRealMixin) + 1].__name__


@cache
def with_method(parent: type) -> type:
    """Return a segmentor class with a method. It takes the arguments of :class:`SynToRealMixin` and its parent."""
    return type(f"SynToReal{parent.__name__}", (SynToRealMixin, parent), {"__module__": __name__})


@MODELS.register_module()
def SynToReal(parent: Any = "EncoderDecoder", **kwargs: Any) -> Any:  # noqa: N802 - the name in configs
    """Build a segmentor with a method; ``parent`` is its class or registered name.

    The ``loss`` of the parent must return a dictionary.

    Raises:
        ValueError: it is not registered, or has no backbone.
    """
    kind = parent if isinstance(parent, type) else MODELS.get(parent)
    if kind is None:
        raise unknown_name(parent, _segmentors(), "segmentor (model.parent)")
    return with_method(kind)(**kwargs)


def _segmentors() -> list[str]:
    kinds = MODELS.module_dict.items()
    return [name for name, kind in kinds if isinstance(kind, type) and issubclass(kind, BaseSegmentor)]
