"""The image classifier: a backbone, a small head, and a method."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch.nn.functional as F
from mmengine.model import BaseModel
from mmengine.registry import MODELS
from torch import Tensor, nn

from gcisg_cls.backbones import build_backbone, load_pretrained
from gcisg_cls.views import Normalizer
from gcisg_core.backbone_plugins import apply_backbone_plugins
from gcisg_core.ibn import InstanceBatchNorm
from gcisg_core.initial_weights import MIN_MATCH_RATIO
from gcisg_core.old_names import accept_old_arguments
from gcisg_core.regularizers import build_regularizer


@MODELS.register_module()
@accept_old_arguments
class SynToRealClassifier(BaseModel):
    """A classifier that is trained on synthetic images with a method of :mod:`gcisg_core.regularizers`.

    Args:
        backbone: ``resnet101``, ``torchvision:NAME``, ``timm:NAME``; see :func:`gcisg_cls.backbones.build_backbone`.
        num_classes: Number of classes of the task.
        hidden: Width of the head's hidden layer (2048-512-12 in the paper); 0 for a linear head.
        weights: Pretrained weights, see :func:`gcisg_cls.backbones.load_pretrained`; None for a random start.
        norm_eval: BatchNorm of the backbone keeps its running statistics (GCISG, Section 4.5).
        flip_average: Predict from the image and its mirror image together, see :meth:`averaged_scores`, as the authors'
            code of ASG and CSG does. Only for ``mode="predict"``: analyses use the image as it is.
        regularizer: ``method`` and its settings, see :func:`gcisg_core.regularizers.build_regularizer`.
        backbone_plugins: Name -> value, see :func:`gcisg_core.backbone_plugins.apply_backbone_plugins`.
        min_match_ratio: Share of the weights that must match, see
            :func:`gcisg_core.initial_weights.load_initial_weights`.
        backbone_options: Keyword arguments for the library's builder of the backbone.
    """

    def __init__(
        self,
        backbone: str = "resnet101",
        num_classes: int = 12,
        hidden: int = 512,
        weights: str | None = None,
        norm_eval: bool = False,
        flip_average: bool = False,
        regularizer: dict[str, Any] | None = None,
        backbone_plugins: dict[str, Any] | None = None,
        min_match_ratio: float = MIN_MATCH_RATIO,
        backbone_options: dict[str, Any] | None = None,
    ) -> None:
        normalizer = Normalizer()
        super().__init__(data_preprocessor=normalizer)
        self.name, self.weights, self.norm_eval, self.min_match_ratio = backbone, weights, norm_eval, min_match_ratio
        self.flip_average, self.backbone_options = flip_average, backbone_options
        self.backbone, channels = build_backbone(backbone, backbone_options)
        apply_backbone_plugins(self.backbone, backbone_plugins)
        self.head: nn.Module = (
            nn.Sequential(nn.Linear(channels, hidden), nn.ReLU(inplace=True), nn.Linear(hidden, num_classes))
            if hidden
            else nn.Linear(channels, num_classes)
        )
        self.regularizer = build_regularizer(self.backbone, regularizer)
        normalizer.follow(self.regularizer.settings)

    def init_weights(self) -> None:
        """Called by the runner before training; the head keeps its random initialisation."""
        if self.weights is not None:
            load_pretrained(self.backbone, self.name, self.weights, self.min_match_ratio, self.backbone_options)

    def train(self, mode: bool = True) -> SynToRealClassifier:
        super().train(mode)
        if self.norm_eval:
            for module in self.backbone.modules():
                if isinstance(module, nn.BatchNorm2d | InstanceBatchNorm):
                    module.eval()
        return self

    def forward(
        self, inputs: Tensor | Sequence[Tensor], label: Tensor | None = None, mode: str = "tensor", **_: Any
    ) -> Any:
        """One of mmengine's three modes.

        Args:
            inputs: Normalised images (B, 3, H, W), or for ``mode="loss"`` a list of views of the same images.
            label: (B,), classes; needed for ``mode="loss"``.
            mode: ``loss`` returns the named losses and metrics, ``predict`` one dictionary for each image
                (``prediction`` and, if known, ``label``), ``tensor`` the scores (B, classes).
        """
        if mode == "loss":
            if label is None:
                raise ValueError("label must be given for mode 'loss'")
            views = [inputs] if isinstance(inputs, Tensor) else list(inputs)
            task_view = self.regularizer.settings.task_view
            losses, metrics = self.regularizer.step(
                views, lambda: {"loss_task": F.cross_entropy(self.scores(views[task_view]), label)}
            )
            # mmengine sums the values with "loss" in their name and logs the rest.
            return losses | metrics
        if mode == "tensor":
            return self.scores(inputs)
        scores = self.averaged_scores(inputs) if self.flip_average else self.scores(inputs)
        predictions = [{"prediction": prediction} for prediction in scores.argmax(dim=1)]
        if label is not None:
            for prediction, truth in zip(predictions, label, strict=True):
                prediction["label"] = truth
        return predictions

    def scores(self, images: Any) -> Tensor:
        """Class scores (B, classes) of normalised images (B, 3, H, W)."""
        result: Tensor = self.head(self.backbone(images))
        return result

    def averaged_scores(self, images: Any) -> Tensor:
        """Sigmoid of the scores, averaged over the images (B, 3, H, W) and their mirror images: (B, classes)."""
        result: Tensor = (self.scores(images).sigmoid() + self.scores(images.flip(-1)).sigmoid()) / 2
        return result


def own_names(state: Mapping[str, Tensor], classifier: str) -> dict[str, Tensor]:
    """A state dict with the names of :class:`SynToRealClassifier`.

    Args:
        state: State dict of a classifier of this suite, or of the plain library with a head of the same form.
        classifier: The path of the classifier in the library's network.
    """
    if any(name.startswith("backbone.") for name in state):
        return dict(state)
    prefix = f"{classifier}."
    return {
        f"head.{name.removeprefix(prefix)}" if name.startswith(prefix) else f"backbone.{name}": (
            value.flatten(1) if name.startswith(prefix) and value.ndim == 4 else value  # of a 1 x 1 convolution
        )
        for name, value in state.items()
    }
