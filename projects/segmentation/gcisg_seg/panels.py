"""Pictures of the predictions of segmentors."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from matplotlib.figure import Figure
from matplotlib.patches import Patch
from mmengine.dataset import pseudo_collate
from mmseg.registry import DATASETS
from torch import nn

from gcisg_core.channels import swap_bgr
from gcisg_seg.evaluation import predicted_classes
from gcisg_suite.progress import progress
from gcisg_suite.report.grid import picture_grid
from gcisg_suite.report.page import Picture
from gcisg_suite.report.runs import TrainingRun, trained_models

# Grey for the background, then Okabe and Ito's palette with black: distinguishable with colour blindness.
COLOURS = np.array([
    (200, 200, 200), (230, 159, 0), (86, 180, 233), (0, 158, 115), (240, 228, 66), (0, 114, 178), (213, 94, 0),
    (204, 121, 167), (0, 0, 0),
], np.uint8)  # fmt: skip
CAPTION = "Real scenes, evenly spaced through the data: image, truth, and each model's prediction."


def panel(
    runs: Mapping[str, TrainingRun], colours: np.ndarray | None = None, names: Mapping[str, str] | None = None
) -> Picture:
    """Real scenes with the predictions of all runs that have a checkpoint.

    Args:
        runs: By name.
        colours: (classes, 3), uint8; those of the data set by default.
        names: Class -> its name in the legend, by default the class.

    Raises:
        ValueError: no run has a checkpoint, or a checkpoint does not fit its run's config.
        FileNotFoundError: the images do not exist.
    """
    models, data = trained_models(runs)
    dataset = DATASETS.build(data)
    palette = np.array(dataset.metainfo["palette"], np.uint8) if colours is None else colours
    return Picture(draw(dataset, models, palette, names or {}), CAPTION)


def draw(
    dataset: Any,
    models: Mapping[str, nn.Module],
    colours: np.ndarray,
    names: Mapping[str, str] | None = None,
    count: int = 5,
) -> Figure:
    """A column a scene, a row each for image, truth and every model's prediction.

    Args:
        dataset: A data set of mmseg, in test mode; without labels there is no row for the truth.
        models: Segmentors by name.
        colours: (classes, 3), uint8, of the classes.
        names: See :func:`panel`.
        count: Scenes.
    """
    table = np.zeros((256, 3), np.uint8)
    table[: len(colours)] = colours  # ignored pixels stay black
    labelled = "gt_sem_seg" in dataset[0]["data_samples"]
    figure, axes = picture_grid(["image", *(["truth"] if labelled else []), *models], count, (2.1, 1.65))
    shown = np.linspace(0, len(dataset) - 1, count).astype(int)
    for column, index in enumerate(progress(shown, "drawing")):
        batch = pseudo_collate([dataset[index]])
        rows = [swap_bgr(batch["inputs"][0]).permute(1, 2, 0).numpy()]  # mmcv loads BGR
        if labelled:
            rows.append(table[batch["data_samples"][0].gt_sem_seg.data[0].numpy()])
        for model in models.values():
            with torch.no_grad():
                prediction = predicted_classes(model.eval().test_step(batch)[0])  # type: ignore[operator]
            rows.append(table[prediction.cpu().numpy()])
        for axis, picture in zip(axes[:, column], rows, strict=True):
            axis.imshow(picture)
    shown_names = [(names or {}).get(name, name) for name in dataset.metainfo["classes"]]
    handles = [Patch(color=colour / 255, label=name) for colour, name in zip(colours, shown_names, strict=True)]
    figure.tight_layout(rect=(0, 0.08, 1, 1))
    figure.legend(handles=handles, loc="lower center", ncols=min(len(handles), 10), frameon=False, fontsize=8)
    return figure
