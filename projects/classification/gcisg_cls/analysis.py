"""Analysis of classifiers: this suite's, and plain networks of torchvision or timm with their own head."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from mmengine.config import Config
from torch import Tensor, nn

from gcisg_cls.backbones import build_backbone, plain_of, read_weights
from gcisg_cls.classifier import SynToRealClassifier, own_names
from gcisg_cls.model_metrics import build_dataset, evaluate, explained_stage
from gcisg_cls.views import normalize
from gcisg_core.config import require
from gcisg_core.model_metrics import ModelMetrics, Value
from gcisg_core.problems import DataError
from gcisg_suite.analysis.load import load_backbone, load_model, read_state
from gcisg_suite.analysis.pretraining import original_accuracy, original_classifier, stand_in
from gcisg_suite.analysis.task import RIGHT, WRONG, EvalTask, Options, Window


class ClassificationTask(EvalTask):
    """See :class:`gcisg_suite.analysis.task.EvalTask`.

    Args:
        config: A config of this project; its test images are used, or those of a class folder ``data``.
        options: Options of the command line.
    """

    title = "classification"
    heads = {"accuracy": "accuracy, mean over classes, %", "overall": "accuracy, mean over images, %"}  # noqa: RUF012
    score = "whether its class is right"
    failure = " and by how sure the model is"
    cam = "the class that the model predicts"

    def __init__(self, config: Config, options: Options) -> None:
        kind = config.get("model", {}).get("type")
        require(kind == "SynToRealClassifier", "model.type", kind, "SynToRealClassifier, with the network as backbone")
        given = {"root": options.data} if options.data else {}
        self.dataset = build_dataset(config.test_dataloader.dataset, **given)
        self.config, self.options, self.data = config, options, str(self.dataset.root)
        self.device = torch.device(options.device)
        self.take_reference(self._pretrained, options.reference, config.model.get("weights") or "")

    def _pretrained(self, weights: str) -> nn.Module:
        name, options = self.config.model.get("backbone", "resnet101"), self.config.model.get("backbone_options")
        network, _ = build_backbone(name, options)
        own = ":" not in name and Path(weights).is_file()  # or the library converts it
        state = read_state(weights) if own else read_weights(name, weights, options)
        load_backbone(network, state, weights, plain_of(network).classifier)
        self.classifier = original_classifier(state, plain_of(network).classifier)
        return network.to(self.device)

    def pooled(self, backbone: nn.Module, images: Tensor) -> Tensor:
        """(B, C), the original classifier's input; in some networks it is not the mean of the deepest stage."""
        features: Tensor = backbone(images)
        return features

    def explained_stage(self, backbone: nn.Module) -> int:
        return explained_stage(backbone)

    def __len__(self) -> int:
        return len(self.dataset)

    def load(self, path: str) -> SynToRealClassifier:
        """The config's network with the checkpoint's head, whatever its width and form.

        Raises:
            ValueError: as in the parent, or head and data differ in the number of classes.
        """
        given = {key: value for key, value in self.config.model.items() if key not in ("type", "weights")}
        network, _ = build_backbone(given.get("backbone", "resnet101"), given.get("backbone_options"))
        classifier = plain_of(network).classifier
        state = own_names(read_state(path), classifier)
        hidden, last = (0, state.get("head.weight")) if "head.weight" in state else (1, state.get("head.2.weight"))
        if last is None:
            what = f"has no classifier, expected {classifier}.weight, head.weight or head.2.weight"
            raise DataError(path, what, "Give a trained classifier; a pretrained network is the --reference")
        classes = len(self.dataset.classes)
        if len(last) != classes:
            remedy = "Give images of its classes as --data and their names as test_dataloader.dataset.classes"
            raise DataError(path, f"knows {len(last)} classes, {self.data} has {classes}", remedy)
        values = given | {"regularizer": None, "num_classes": classes, "hidden": last.shape[1] if hidden else 0}
        model = SynToRealClassifier(**values)
        load_model(model, state, path)
        return model.to(self.device).eval()

    def evaluate(self, model: SynToRealClassifier) -> ModelMetrics:
        return evaluate(model, self.dataset, self.reference, form=self.options.form)

    def acc_in(self, backbone: nn.Module) -> Value:
        folder, data = self.options.imagenet or stand_in(self.weights), self.config.test_dataloader.dataset
        images = build_dataset(data, root=folder, classes=None) if folder else None
        return original_accuracy(
            lambda batch: self.pooled(backbone, normalize(batch).to(self.device)), self.classifier, images
        )

    def backbone(self, model: SynToRealClassifier) -> nn.Module:
        return model.backbone

    def inputs(self, index: int) -> Tensor:
        return normalize(self.dataset[index]["inputs"]).unsqueeze(0).to(self.device)

    def pixels(self, index: int) -> np.ndarray:
        return np.asarray(self.dataset[index]["inputs"].permute(1, 2, 0))

    def explained(self, model: Any, index: int, window: Window) -> tuple[Callable[[Tensor], Tensor], None]:
        return model.scores, None

    def draw(self, axis: Any, index: int, model: Any | None = None) -> None:
        axis.imshow(self.pixels(index))
        label = self.dataset.samples[index][1]
        if model is None and label >= 0:
            axis.set_title(self.dataset.classes[label], fontsize=8)
        elif model is not None:
            self.label(axis, index, model)

    @torch.no_grad()
    def confidence(self, index: int, model: SynToRealClassifier) -> str:
        return f"confidence {100 * float(model.scores(self.inputs(index)).softmax(dim=1).max()):.0f} %"

    @torch.no_grad()
    def label(self, axis: Any, index: int, model: SynToRealClassifier) -> None:
        predicted = int(model.scores(self.inputs(index)).argmax())
        colour = RIGHT if predicted == self.dataset.samples[index][1] else WRONG
        axis.set_title(self.dataset.classes[predicted], fontsize=8, color=colour)
