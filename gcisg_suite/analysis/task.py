"""The interface between the analysis and a task."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from gcisg_core.feature_tap import Features, find_stages, make_tap
from gcisg_core.model_metrics import STAGES, ModelMetrics, Value
from gcisg_core.probe import resized_to_fit

# Okabe and Ito's palette, with black: distinguishable with colour blindness.
OKABE_ITO = (
    (230, 159, 0), (86, 180, 233), (0, 158, 115), (240, 228, 66), (0, 114, 178), (213, 94, 0), (204, 121, 167),
    (0, 0, 0),
)  # fmt: skip
Window = tuple[slice, slice]  # rows and columns of an image
RIGHT, WRONG = "#0072b2", "#d55e00"


@dataclass
class Options:
    """The options of the command line, without config and checkpoints.

    Attributes:
        reference: Weights of the pretrained network; None for those that the config starts from.
        data: Images to evaluate on; None for the config's.
        imagenet: Folder of the pretraining task's images (one folder for each class), for Acc_IN; None for the
            miniature's, if the weights are the miniature's.
        imagenet_size: Size in pixels to which those images are resized and cropped.
        form: Form of the energy, ``published`` or ``textbook``.
        device: The device that models run on.
    """

    reference: str | None = None
    data: str | None = None
    imagenet: str | None = None
    imagenet_size: int = 224
    form: str = "published"
    device: str = "cpu"


class EvalTask(ABC):
    """A data set of one task, and how its models are loaded, evaluated and drawn.

    Attributes:
        title: Name of the task.
        heads: The task's own metrics -> their names on the page.
        score: Describes the score of an image (:attr:`gcisg_core.model_metrics.ModelMetrics.score`).
        failure: Describes what else ranks the failures; begins with a space.
        cam: Describes what the Grad-CAM panels explain.
        data: Name of the data that models are evaluated on.
        options: Options of the command line.
        reference: The pretrained backbone in eval mode; None if it is missing, and ``no_reference`` gives the reason.
        weights: File of its weights.
        classifier: Its original classifier, if the weights contain one.
    """

    title: str
    heads: Mapping[str, str]
    score: str
    failure: str = ""
    cam: str
    data: str
    options: Options
    reference: nn.Module | None = None
    no_reference: str = ""
    weights: str = ""
    classifier: nn.Linear | None = None

    @abstractmethod
    def __len__(self) -> int:
        """Number of images."""

    @abstractmethod
    def load(self, path: str) -> Any:
        """Load a checkpoint into a model, in eval mode, on the device.

        Raises:
            ValueError: the checkpoint is unsafe, damaged, or belongs to another model.
        """

    @abstractmethod
    def evaluate(self, model: Any) -> ModelMetrics:
        """All metrics except Acc_IN."""

    @abstractmethod
    def acc_in(self, backbone: nn.Module) -> Value:
        """Accuracy of the original classifier on a backbone, in per cent, or the reason why there is none."""

    @abstractmethod
    def backbone(self, model: Any) -> nn.Module:
        """The part of a model that was pretrained."""

    @abstractmethod
    def inputs(self, index: int) -> Tensor:
        """(1, 3, H, W), the backbone's input for an image."""

    @abstractmethod
    def pixels(self, index: int) -> np.ndarray:
        """(H, W, 3), uint8, RGB: the image at the size of :meth:`inputs`, without padding on the right and below."""

    def windows(self, size: Sequence[int]) -> list[Window]:
        """The parts of inputs (..., H, W) that a model sees at once: all, except for sliding-window segmentors."""
        return [(slice(0, size[0]), slice(0, size[1]))]

    @abstractmethod
    def explained(
        self, model: Any, index: int, window: Window
    ) -> tuple[Callable[[Tensor], Tensor], Callable[[Tensor], Tensor] | None]:
        """The functions that Grad-CAM differentiates: inputs of a window -> scores (1, ...), and scores -> a number.

        None as the second function stands for the largest of the scores (1, classes).
        """

    @abstractmethod
    def draw(self, axis: Any, index: int, model: Any | None = None) -> None:
        """Draw an image with its truth, or with a model's prediction."""

    def label(self, axis: Any, index: int, model: Any) -> None:  # noqa: B027 - only classification has one label
        """Write a model's predicted class above an image."""

    @abstractmethod
    def confidence(self, index: int, model: Any) -> str:
        """A model's confidence in its prediction for an image, in lines of two or three words."""

    def legend(self) -> list[tuple[str, Any]]:
        """Names and colours for the legend of the drawings."""
        return []

    def take_reference(self, load: Callable[[str], nn.Module], given: str | None, default: str) -> None:
        """Set `reference`. If the config's own weights cannot be loaded, store the reason instead of raising.

        Raises:
            OSError, ValueError: the weights that the user gave cannot be loaded.
        """
        self.weights = given or default
        if not self.weights:
            self.no_reference = "the config starts from no pretrained weights; give some as --reference"
            return
        try:
            network = load(self.weights).requires_grad_(False)
            network.eval()  # not chained: some networks' eval() returns None
            self.reference = network
        except (OSError, ValueError) as error:
            if given:
                raise
            self.no_reference = f"the pretrained network could not be loaded ({error}); give its weights as --reference"

    def stages(self, backbone: nn.Module) -> list[int]:
        """Those of the stages 1 to 4 that a backbone has."""
        return [stage for stage in STAGES if stage in find_stages(backbone)]

    def explained_stage(self, backbone: nn.Module) -> int:
        """The stage that Grad-CAM explains: the deepest."""
        return self.stages(backbone)[-1]

    @torch.no_grad()
    def maps(self, backbone: nn.Module, images: Tensor) -> Features:
        """Stage -> (1, C, h, w), a backbone's features of inputs (1, 3, H, W)."""
        return make_tap(backbone, self.stages(backbone)).run(backbone, images)

    def pooled(self, backbone: nn.Module, images: Tensor) -> Tensor:
        """(B, C), means of the deepest stage's features for inputs (B, 3, H, W).

        Inputs are resized if the backbone takes one size only.
        """
        stages = self.stages(backbone)
        images = resized_to_fit(backbone, images)
        return make_tap(backbone, stages[-1:]).run(backbone, images)[stages[-1]].mean(dim=(2, 3))
