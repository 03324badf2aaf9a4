"""Adds a method of :mod:`gcisg_core.regularizers` to any Detectron2 detector.

A training step draws both views of the batch on the device. The task view goes through the parent's `forward`, with
the backbone's stages tapped; the other view goes only through the bottom-up network. Then the method's losses follow.

Shapes: B images, padded by the parent to H x W pixels.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cache
from typing import Any

import torch
from detectron2.config import CfgNode
from detectron2.modeling import META_ARCH_REGISTRY
from torch import Tensor, nn

from gcisg_core.backbone_input import backbone_input
from gcisg_core.backbone_plugins import apply_backbone_plugins
from gcisg_core.channels import in_rgb
from gcisg_core.config import require
from gcisg_core.integrations.detectron2 import lower_keys, regularizer_values
from gcisg_core.lookup import choose
from gcisg_core.other_view import OtherView
from gcisg_core.padding import padding_mask
from gcisg_core.regularizers import build_regularizer
from gcisg_core.stages import below_pyramid
from gcisg_core.views import PhotometricView

from .config import photometric_values


class SynToRealMixin:
    """Adds a method to a detector; list it before the detector among a class's bases.

    Args:
        *args: Arguments of the detector.
        regularizer: ``method`` and its settings, see :func:`gcisg_core.regularizers.build_regularizer`.
        backbone_plugins: Name -> value, see :func:`gcisg_core.backbone_plugins.apply_backbone_plugins`.
        photometric: Arguments of :class:`gcisg_core.views.PhotometricView`; a baseline draws one view, like a
            method's task view. None: the images are not changed.
        image_format: Channel order of the images, `BGR` or `RGB`.
        **kwargs: Arguments of the detector.

    Raises:
        ValueError: The detector has no `backbone`, or ``image_format`` is neither `BGR` nor `RGB`.
    """

    def __init__(
        self,
        *args: Any,
        regularizer: Mapping[str, Any] | None = None,
        backbone_plugins: Mapping[str, Any] | None = None,
        photometric: Mapping[str, Any] | None = None,
        image_format: str = "BGR",
        **kwargs: Any,
    ) -> None:
        super().__init__(*args, **kwargs)
        backbone: Any = getattr(self, "backbone", None)
        require(isinstance(backbone, nn.Module), "backbone", backbone, f"a module of {type(self).__mro__[2].__name__}")
        student = below_pyramid(backbone)
        apply_backbone_plugins(student, backbone_plugins)
        self.regularizer = build_regularizer(student, regularizer)
        self.other = OtherView(self.regularizer.settings)
        changes = photometric is not None or self.other.change is not None
        require(not changes or image_format in ("BGR", "RGB"), "INPUT.FORMAT", image_format, "BGR or RGB")
        self.view = PhotometricView(**photometric) if photometric is not None else None
        self.is_bgr = image_format == "BGR"
        self.regularizer_metrics: Mapping[str, Tensor] = {}

    def forward(self, batched_inputs: Sequence[dict[str, Any]]) -> Any:
        """Return the parent's output; in training, with the method's losses. The hook logs the method's metrics.

        Args:
            batched_inputs: As for the parent; ``image`` is (3, H_i, W_i) of values 0 to 255.
        """
        parent: Any = super()
        if not self.training:  # type: ignore[attr-defined]
            return parent.forward(batched_inputs)
        batches = self.other.views(
            self.regularizer.views_needed,
            lambda _: self._draw(batched_inputs, self.view),
            lambda change: self._draw(batched_inputs, change),
        )
        views = [self._backbone_input(batch) for batch in batches]
        losses, metrics = self.regularizer.step(
            views,
            lambda: parent.forward(batches[self.regularizer.settings.task_view]),
            padding_mask(views[0], [item["image"].shape[-2:] for item in batched_inputs]),
        )
        self.regularizer_metrics = metrics
        return losses

    @torch.no_grad()
    def _draw(self, batched_inputs: Sequence[dict[str, Any]], change: PhotometricView | None) -> list[dict[str, Any]]:
        """Return the batch with a new photometric change of the images; everything else is unchanged."""
        if change is None:
            return list(batched_inputs)
        device = next(self.regularizer.student.parameters()).device
        batch = []
        # Autocast would reduce the precision of the change.
        with torch.autocast(device.type, enabled=False):
            for item in batched_inputs:
                image = item["image"].to(device).float().div(255).unsqueeze(0)
                batch.append({**item, "image": in_rgb(change, image, self.is_bgr).squeeze(0).mul(255)})
        return batch

    def _backbone_input(self, batch: list[dict[str, Any]]) -> Tensor:
        """Return the backbone's input (B, 3, H, W); the parent's forward pass is stopped before the backbone runs.

        Normalisation and padding are therefore the parent's, even if it has no `preprocess_image`.
        """
        parent: Any = super()
        name = type(self).__mro__[2].__name__
        return backbone_input(self.regularizer.student, lambda: parent.forward(batch), name)


@cache
def with_method(parent: type[nn.Module]) -> type[nn.Module]:
    """Return a detector class with a method. It takes the arguments of :class:`SynToRealMixin` and its parent."""
    return type(f"SynToReal{parent.__name__}", (SynToRealMixin, parent), {"__module__": __name__})


@META_ARCH_REGISTRY.register()
def SynToRealDetector(cfg: CfgNode) -> nn.Module:  # noqa: N802 - the name in configs
    """Build the meta-architecture `MODEL.PARENT_ARCHITECTURE` with the method of `REGULARIZER`.

    Raises:
        ValueError: The parent, the method, a setting or a stage is unknown; the message lists the known ones.
    """
    parents = {name: parent for name, parent in META_ARCH_REGISTRY if parent is not SynToRealDetector}
    parent = choose(parents, cfg.MODEL.PARENT_ARCHITECTURE, "MODEL.PARENT_ARCHITECTURE")
    return with_method(parent)(
        cfg,
        regularizer=regularizer_values(cfg),
        backbone_plugins=lower_keys(cfg.MODEL.BACKBONE_PLUGINS),
        photometric=photometric_values(cfg) or None,
        image_format=cfg.INPUT.FORMAT,
    )
