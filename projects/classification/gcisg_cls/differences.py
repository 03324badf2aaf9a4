"""The test images on which two classifiers differ."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any

import numpy as np
import torch
from torch.utils.data import DataLoader

from gcisg_cls.datasets import ClassFolderDataset
from gcisg_cls.model_metrics import build_dataset
from gcisg_cls.views import normalize
from gcisg_suite.progress import progress
from gcisg_suite.report.differences import Differences, mark
from gcisg_suite.report.runs import TrainingRun, trained_models

TEXT = 0.26  # height of a line, as a share of an image's width


def differences(runs: Mapping[str, TrainingRun]) -> Differences:
    """Two runs of the miniature on the data that they were evaluated on.

    Raises:
        ValueError: a run has no checkpoint, or it is not of the run's config.
        FileNotFoundError: the images are not there.
    """
    models, data = trained_models(runs, weights=None)
    return compare(build_dataset(data), models)


def compare(dataset: ClassFolderDataset, models: Mapping[str, Any], batch_size: int = 256) -> Differences:
    """The classes are digits: the label of an image is what is written below it."""
    labels, predicted = [], []
    for batch in progress(DataLoader(dataset, batch_size), "comparing", "batch"):
        images = normalize(batch["inputs"])
        with torch.inference_mode():
            scores = [model.eval().scores(images) for model in models.values()]
        labels.append(batch["label"])
        predicted.append(torch.stack(scores, dim=1).argmax(dim=-1))
    truth, classes = torch.cat(labels).numpy(), torch.cat(predicted).numpy()
    right = classes == truth[:, None]
    return Differences(
        counted="test images",
        rule="An image is right when the predicted digit is.",
        names=list(models),
        image=np.arange(len(truth)),
        right=right,
        rows={"image": 1.0, **dict.fromkeys(("truth", *models), TEXT)},
        draw=partial(_draw, dataset, truth, classes),
        columns=10,
    )


def _draw(dataset: ClassFolderDataset, truth: np.ndarray, classes: np.ndarray, image: int, axes: Sequence[Any]) -> None:
    axes[0].imshow(dataset[image]["inputs"].permute(1, 2, 0).numpy() / 255)
    for axis, label in zip(axes[1:], (truth[image], *classes[image]), strict=True):
        right = None if axis is axes[1] else bool(label == truth[image])
        mark(axis, 0.5, 0.5, right, str(label), fontsize=11, ha="center", va="center")
