"""The analysis of detectors, both of this suite and of plain Detectron2."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from detectron2.data import DatasetCatalog, MetadataCatalog
from detectron2.utils.file_io import PathManager
from matplotlib.patches import Rectangle
from torch import Tensor, nn

from gcisg_core.channels import swap_bgr
from gcisg_core.feature_tap import make_tap
from gcisg_core.model_metrics import ModelMetrics, Value
from gcisg_suite.analysis.pretraining import original_accuracy, original_classifier, pretraining_images
from gcisg_suite.analysis.task import EvalTask, Options, Window

from .model_metrics import SCORE, Boxes, bottom_up, detections, evaluate, truths
from .setups import setup_of

LEAST_CELLS = 6  # smallest size of a map's shorter side for Grad-CAM
MOST_SCORES = 4  # largest number of scores below an image
TRUTH, FOUND = "#f0e442", "#56b4e9"  # Okabe and Ito's yellow and sky blue


class DetectionTask(EvalTask):
    """See :class:`gcisg_suite.analysis.task.EvalTask`.

    Args:
        config: A config of Detectron2 or of this project (YAML or LazyConfig); it is not changed. Its first test set is
            used, or that in ``data``: a folder for `DATASETS.ROOT`, or a JSON file in COCO's format in a folder above
            its images.
        options: Options of the command line.

    Raises:
        ValueError: the data and the detector have different numbers of classes.
    """

    title = "detection"
    heads = {"AP": "AP", "AP50": "AP50", "AP75": "AP75"}  # noqa: RUF012
    score = (
        f"the share of boxes (those of the truth, and predicted ones with a score of at least {SCORE}) that match a "
        "box of the other kind, of the same class and with an IoU of at least 0.5"
    )
    cam = f"the log-odds of the predicted boxes with a score of at least {SCORE}, or of all boxes if there is none"

    def __init__(self, config: Any, options: Options) -> None:
        self.setup, self.options = setup_of(config), options
        self.setup.device = options.device
        if options.data:
            self.setup.use_data("analysis", options.data)
        self.setup.register()
        self.name = self.setup.data
        self.data = str(options.data) if options.data else f"{self.name} {self.setup.root}".strip()
        self.records, self.mapper = DatasetCatalog.get(self.name), self.setup.mapper()
        self._check_classes()
        self.truths = truths(self.name)
        self.is_bgr = self.setup.image_format == "BGR"
        self.shell: Any = self.setup.build()  # preprocesses images, and becomes the reference
        self.take_reference(self._pretrained, options.reference, self.setup.weights)

    def _check_classes(self) -> None:
        (key, known), classes = self.setup.number_of_classes(), MetadataCatalog.get(self.name).thing_classes
        if known not in (None, len(classes)):
            raise ValueError(
                f"{key} is {known}, but {self.name} has {len(classes)}: {', '.join(classes)}. Give data of the "
                f"detector's classes as --data, or as the config's test data"
            )

    def _pretrained(self, weights: str) -> nn.Module:
        checkpointer = self.setup.load(self.shell, weights, strict=False)
        self.classifier = original_classifier(checkpointer._load_file(PathManager.get_local_path(weights))["model"])
        return bottom_up(self.shell)

    def __len__(self) -> int:
        return len(self.records)

    def load(self, path: str) -> Any:
        model = self.setup.build()
        self.setup.load(model, path)
        return model

    def evaluate(self, model: Any) -> ModelMetrics:
        self.setup.register()  # another task may have registered other data in the meantime
        return evaluate(model, self.setup, self.name, self.reference, self.options.form)

    def acc_in(self, backbone: nn.Module) -> Value:
        options = self.options
        images = pretraining_images(options.imagenet, options.imagenet_size, self.weights)
        return original_accuracy(
            lambda batch: self.pooled(backbone, self._normalised(batch)), self.classifier, images, batch_size=64
        )

    def _normalised(self, images: Tensor) -> Tensor:
        """The backbone's input for images (B, 3, H, W), RGB, uint8."""
        ordered = swap_bgr(images, self.is_bgr)
        normalised: Tensor = (ordered.to(self.shell.device) - self.shell.pixel_mean) / self.shell.pixel_std
        return normalised

    def backbone(self, model: Any) -> nn.Module:
        return bottom_up(model)

    def item(self, index: int) -> dict[str, Any]:
        """An image in the form that the detector takes."""
        item: dict[str, Any] = self.mapper(dict(self.records[index]))
        return item

    def inputs(self, index: int) -> Tensor:
        images: Tensor = self.shell.preprocess_image([self.item(index)]).tensor
        return images

    def pixels(self, index: int) -> np.ndarray:
        image = self.item(index)["image"]
        return np.asarray(swap_bgr(image, self.is_bgr).permute(1, 2, 0))

    def explained(self, model: Any, index: int, window: Window) -> tuple[Callable[[Tensor], Tensor], None]:
        network = bottom_up(model)
        deepest = self.stages(network)[-1]

        def scores(_: Tensor) -> Tensor:
            with make_tap(network, [deepest]).collect(network) as features:
                found = model([self.item(index)])[0]["instances"].scores
            sure = found[found >= SCORE]
            # Near 1 the gradient of a score vanishes, but not that of its log-odds. Without boxes it is zero.
            return (torch.logit(sure if len(sure) else found, 1e-6).sum() + 0 * features[deepest].sum()).reshape(1, 1)

        return scores, None

    def explained_stage(self, backbone: nn.Module) -> int:
        """The deepest stage whose map is large enough to locate objects; small images have tiny maps at stride 32."""
        maps = self.maps(backbone, self.inputs(0))
        fine = [stage for stage, features in maps.items() if min(features.shape[-2:]) >= LEAST_CELLS]
        return max(fine, default=min(maps))

    @torch.no_grad()
    def draw(self, axis: Any, index: int, model: Any | None = None) -> None:
        item = self.item(index)
        shown = self.truths[item["image_id"]] if model is None else detections(model([item])[0])
        self._draw(axis, index, shown, TRUTH if model is None else FOUND)

    @torch.no_grad()
    def confidence(self, index: int, model: Any) -> str:
        scores = model([self.item(index)])[0]["instances"].scores
        sure = [f"{score:.2f}" for score in scores[scores >= SCORE].sort(descending=True).values.tolist()]
        if not sure:
            best = f"; the best score is {float(scores.max()):.2f}" if len(scores) else ""
            return f"no box above {SCORE}{best}"
        return f"scores {', '.join(sure[:MOST_SCORES])}{', ...' * (len(sure) > MOST_SCORES)}"

    def _draw(self, axis: Any, index: int, shown: Boxes, colour: str) -> None:
        record = self.records[index]
        axis.imshow(self.pixels(index), extent=(0, record["width"], record["height"], 0))
        for x1, y1, x2, y2 in shown.boxes.tolist():
            axis.add_patch(Rectangle((x1, y1), x2 - x1, y2 - y1, fill=False, linewidth=2, edgecolor=colour))
