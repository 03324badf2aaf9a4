"""Pictures of what classifiers predict and where they look."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from matplotlib.figure import Figure
from pytorch_grad_cam import GradCAM

from gcisg_cls.datasets import ClassFolderDataset
from gcisg_cls.model_metrics import build_dataset, explained_stage
from gcisg_cls.views import normalize
from gcisg_suite.analysis.pictures import cam_layer
from gcisg_suite.progress import progress
from gcisg_suite.report.grid import heat_over, picture_grid
from gcisg_suite.report.page import Picture
from gcisg_suite.report.runs import TrainingRun, trained_models

CAPTION = (
    "Real images, evenly spaced through all: truth, each model's prediction, and where it looks (Grad-CAM of its "
    "prediction at its deepest stage)."
)


def panel(runs: Mapping[str, TrainingRun]) -> Picture:
    """Real images with the predictions of all runs that have a checkpoint.

    Raises:
        ValueError: no run has one, or it is not of the run's config.
        FileNotFoundError: the images are not there.
    """
    models, data = trained_models(runs, weights=None)
    return Picture(draw(build_dataset(data), models), CAPTION)


def draw(dataset: ClassFolderDataset, models: dict[str, Any], count: int = 10) -> Figure:
    """A column an image, a row each for the image and every model."""
    samples = [dataset[index] for index in np.linspace(0, len(dataset) - 1, count).astype(int)]
    images = torch.stack([sample["inputs"] for sample in samples])
    pictures = images.permute(0, 2, 3, 1).numpy() / 255
    figure, axes = picture_grid(["image, truth", *models], count, (1.15, 4.2 / (1 + len(models))))
    for column, sample in enumerate(samples):
        axes[0, column].imshow(pictures[column])
        axes[0, column].set_title(dataset.classes[sample["label"]], fontsize=9)
    for row, model in enumerate(progress(models.values(), "drawing", "model"), start=1):
        model.eval().requires_grad_(True)
        predictions = model(normalize(images)).argmax(dim=1)
        layer, reshape = cam_layer(
            model.backbone, explained_stage(model.backbone), (images.shape[-2], images.shape[-1])
        )
        with GradCAM(model=model, target_layers=[layer], reshape_transform=reshape) as grad_cam:
            maps = grad_cam(normalize(images), targets=None)  # of each image's own prediction
        for column, sample in enumerate(samples):
            hit = int(predictions[column]) == sample["label"]
            axes[row, column].imshow(heat_over(255 * pictures[column], maps[column]))
            title = f"{'✓' if hit else '✗'} {dataset.classes[predictions[column]]}"
            axes[row, column].set_title(title, fontsize=9, color="#0072b2" if hit else "#d55e00")
    figure.tight_layout()
    return figure
