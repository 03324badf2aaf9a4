"""What a trained classifier keeps of the pretrained network, and how much the style of an image matters to it."""

from __future__ import annotations

from typing import Any

import torch
from mmengine.registry import DATASETS
from sklearn.metrics import balanced_accuracy_score
from torch import Tensor, nn
from torch.utils.data import DataLoader, Dataset

from gcisg_cls.backbones import build_resnet, load_pretrained, read_weights
from gcisg_cls.classifier import SynToRealClassifier
from gcisg_cls.datasets import VisDA17Dataset
from gcisg_cls.views import normalize
from gcisg_core.metrics import LinearCKA, match_rate
from gcisg_core.views import restyle


class _Pairs(Dataset):
    """(image, restyled image, label) of a data set whose pipeline is an :class:`gcisg_cls.views.EvalView`."""

    def __init__(self, images: VisDA17Dataset) -> None:
        self.images = images

    def __len__(self) -> int:
        return len(self.images)

    def __getitem__(self, index: int) -> tuple[Tensor, Tensor, int]:
        sample = self.images[index]
        pixels = sample["inputs"] / 255
        return normalize(pixels), normalize(restyle(pixels, seed=index)), sample["label"]


@torch.no_grad()
def measure(
    model: SynToRealClassifier,
    target: VisDA17Dataset,
    pretrained: str,
    pretraining: VisDA17Dataset | None = None,
    batch_size: int = 256,
) -> dict[str, float]:
    """The measures of the paper's Table 2.

    Args:
        model: The trained classifier.
        target: Real images of the task; its pipeline is an :class:`gcisg_cls.views.EvalView`.
        pretrained: Weights that training started from, see :func:`gcisg_cls.backbones.read_weights`.
        pretraining: Validation images of the pretraining's task (ImageNet), for Acc_IN.

    Returns:
        ``accuracy`` (mean per-class, %), ``match_rate`` (%), ``cka`` (linear, penultimate features against the
        pretrained network's, [0, 1]) and with ``pretraining`` also ``acc_in`` (%): the accuracy there of the original
        classifier on the trained backbone.

    Source: GCISG (ECCV 2022), Section 4, "Evaluation metrics".
    """
    model.eval()
    device = next(model.parameters()).device
    reference, _ = build_resnet(model.name)
    load_pretrained(reference, model.name, pretrained)
    reference.eval().to(device)
    cka = LinearCKA()
    rows: list[Tensor] = []
    for images, restyled, labels in DataLoader(_Pairs(target), batch_size):
        features = model.backbone(images.to(device))
        cka.update(features, reference(images.to(device)))
        predictions = model.head(features).argmax(dim=1).cpu()
        rows.append(torch.stack([labels, predictions, model.scores(restyled.to(device)).argmax(dim=1).cpu()]))
    labels, predictions, restyled_predictions = torch.cat(rows, dim=1)
    result = {
        "accuracy": 100 * float(balanced_accuracy_score(labels, predictions)),
        "match_rate": 100 * match_rate(predictions, restyled_predictions),
        "cka": cka.compute(),
    }
    if pretraining is not None:
        classifier = _original_classifier(read_weights(model.name, pretrained)).to(device)
        hits = [
            classifier(model.backbone(normalize(batch["inputs"]).to(device))).argmax(dim=1).cpu() == batch["label"]
            for batch in DataLoader(pretraining, batch_size)
        ]
        result["acc_in"] = 100 * torch.cat(hits).double().mean().item()
    return result


def _original_classifier(state: dict[str, Tensor]) -> nn.Linear:
    classes, channels = state["fc.weight"].shape
    classifier = nn.Linear(channels, classes)
    classifier.load_state_dict({"weight": state["fc.weight"], "bias": state["fc.bias"]})
    return classifier


def build_dataset(config: Any, **changes: Any) -> VisDA17Dataset:
    """A data set of a config, without the wrapper that training puts around it."""
    own = config["dataset"] if config["type"] == "SeededDataset" else config
    dataset: VisDA17Dataset = DATASETS.build({**own, **changes})
    return dataset
