"""What the analysis asks of a task."""

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

# Okabe and Ito's colours, black among them: told apart by colour-blind people.
OKABE_ITO = (
    (230, 159, 0), (86, 180, 233), (0, 158, 115), (240, 228, 66), (0, 114, 178), (213, 94, 0), (204, 121, 167),
    (0, 0, 0),
)  # fmt: skip
Window = tuple[slice, slice]  # rows and columns of an image
RIGHT, WRONG = "#0072b2", "#d55e00"


@dataclass
class Options:
    """What the command line says beside config and checkpoints.

    Attributes:
        reference: Weights of the pretrained network; None for those that the config starts from.
        data: Images to evaluate on; None for the config's.
        imagenet: Class folders of the pretraining's task, for Acc_IN; None for the miniature's, if it is one.
        imagenet_size: Edge in pixels to which those are resized and cropped.
        form: Of the energy, ``published`` or ``textbook``.
        device: Where models run.
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
        title: The task.
        heads: The task's own metrics -> how the page calls them.
        score: What an image's score is (:attr:`gcisg_core.model_metrics.ModelMetrics.score`), a sentence.
        failure: What else an image's failure is judged by, with a blank before it.
        cam: What the Grad-CAM panels explain, a sentence.
        data: What is evaluated on.
        options: Of the command line.
        reference: The pretrained backbone in eval mode; None where there is none, and ``no_reference`` says why.
        weights: Its file.
        classifier: Its original classifier, if the weights hold one.
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
        """A model with a checkpoint's weights, in eval mode, on the device.

        Raises:
            ValueError: the checkpoint is unsafe, damaged, or one of another model.
        """

    @abstractmethod
    def evaluate(self, model: Any) -> ModelMetrics:
        """Everything but Acc_IN."""

    @abstractmethod
    def acc_in(self, backbone: nn.Module) -> Value:
        """Accuracy of the original classifier on a backbone, per cent, or why there is none."""

    @abstractmethod
    def backbone(self, model: Any) -> nn.Module:
        """The part of a model that was pretrained."""

    @abstractmethod
    def inputs(self, index: int) -> Tensor:
        """(1, 3, H, W), what the backbone gets of an image."""

    @abstractmethod
    def pixels(self, index: int) -> np.ndarray:
        """(H, W, 3), uint8, RGB, of the size of :meth:`inputs` up to padding on the right and below."""

    def windows(self, size: Sequence[int]) -> list[Window]:
        """The parts of inputs (..., H, W) that a model gets at once; all, but for segmentors that slide a window."""
        return [(slice(0, size[0]), slice(0, size[1]))]

    @abstractmethod
    def explained(
        self, model: Any, index: int, window: Window
    ) -> tuple[Callable[[Tensor], Tensor], Callable[[Tensor], Tensor] | None]:
        """What Grad-CAM differentiates in a window: from inputs to scores (1, ...), and from scores (...) to a number.

        None in place of the second is the largest of the scores (1, classes).
        """

    @abstractmethod
    def draw(self, axis: Any, index: int, model: Any | None = None) -> None:
        """Draw an image with its truth, or with a model's prediction."""

    def label(self, axis: Any, index: int, model: Any) -> None:  # noqa: B027 - pixels and boxes have no one label
        """Write what a model says of an image above it."""

    @abstractmethod
    def confidence(self, index: int, model: Any) -> str:
        """How sure a model is of what it says of an image, in two or three words a line."""

    def legend(self) -> list[tuple[str, Any]]:
        """Names and colours that the drawings need to be read."""
        return []

    def take_reference(self, load: Callable[[str], nn.Module], given: str | None, default: str) -> None:
        """Set `reference`; that one of the config's own weights could not be loaded is no error but a reason."""
        self.weights = given or default
        if not self.weights:
            self.no_reference = "the config starts from no pretrained weights; give some as --reference"
            return
        try:
            network = load(self.weights).requires_grad_(False)
            network.eval()  # of some frameworks' networks it returns nothing
            self.reference = network
        except (OSError, ValueError) as error:
            if given:
                raise
            self.no_reference = f"the pretrained network could not be loaded ({error}); give its weights as --reference"

    def stages(self, backbone: nn.Module) -> list[int]:
        """The stages among 1 to 4 that a backbone has."""
        return [stage for stage in STAGES if stage in find_stages(backbone)]

    def explained_stage(self, backbone: nn.Module) -> int:
        """The stage at which Grad-CAM looks: the deepest."""
        return self.stages(backbone)[-1]

    @torch.no_grad()
    def maps(self, backbone: nn.Module, images: Tensor) -> Features:
        """Stage -> (1, C, h, w), a backbone's features of inputs (1, 3, H, W)."""
        return make_tap(backbone, self.stages(backbone)).run(backbone, images)

    def pooled(self, backbone: nn.Module, images: Tensor) -> Tensor:
        """(B, C), means of the deepest stage's features of inputs (B, 3, H, W), resized for a backbone of one size."""
        stages = self.stages(backbone)
        images = resized_to_fit(backbone, images)
        return make_tap(backbone, stages[-1:]).run(backbone, images)[stages[-1]].mean(dim=(2, 3))
