"""The digits of the test scenes on which two segmentors differ."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any, NamedTuple

import numpy as np
import torch
from mmengine.dataset import pseudo_collate
from mmseg.registry import DATASETS
from scipy import ndimage

from gcisg_core.channels import swap_bgr
from gcisg_seg.evaluation import predicted_classes
from gcisg_seg.panels import COLOURS
from gcisg_suite.progress import progress
from gcisg_suite.report.demonstration import DIGITS
from gcisg_suite.report.differences import Differences, mark
from gcisg_suite.report.runs import TrainingRun, trained_models

HALF = 0.5  # share of a digit's pixels above which it is found


class Scene(NamedTuple):
    """Image (H, W, 3), uint8, RGB; classes (H, W) of the truth and of each model; which digits each model found."""

    image: np.ndarray
    truth: np.ndarray
    predictions: list[np.ndarray]
    found: np.ndarray  # (digits, models)


def differences(runs: Mapping[str, TrainingRun]) -> Differences:
    """Two runs of the miniature on the data that they were evaluated on.

    Raises:
        ValueError: a run has no checkpoint, or it is not of the run's config.
        FileNotFoundError: the scenes are not there.
    """
    models, data = trained_models(runs)
    dataset = DATASETS.build(data)
    scenes = [_scene(dataset[index], models) for index in progress(range(len(dataset)), "comparing", "scene")]
    order = sorted(DIGITS, key=DIGITS.__getitem__)
    colours = dict(zip(dataset.metainfo["classes"], COLOURS / 255, strict=True))
    return Differences(
        counted=f"digits in {len(scenes)} test scenes",
        rule="A digit is right when more than half of its pixels have its class.",
        names=list(models),
        image=np.repeat(np.arange(len(scenes)), [len(scene.found) for scene in scenes]),
        right=np.concatenate([scene.found for scene in scenes]),
        rows=dict.fromkeys(("image", "truth", *models), scenes[0].truth.shape[0] / scenes[0].truth.shape[1]),
        draw=partial(_draw, scenes),
        columns=7,
        legend={DIGITS[name]: colours[name] for name in order} | {"ground": COLOURS[0] / 255},
    )


def digits(truth: np.ndarray) -> list[np.ndarray]:
    """The pixels (H, W), bool, of each digit: the miniature's are of one piece and do not touch."""
    pieces, count = ndimage.label(truth > 0, structure=np.ones((3, 3)))
    return [pieces == number for number in range(1, count + 1)]


def found(truth: np.ndarray, predictions: Sequence[np.ndarray]) -> np.ndarray:
    """(digits, models), bool: whether more than half of a digit's pixels have its class.

    Args:
        truth: (H, W), the classes; 0 is the ground.
        predictions: The same of each model.
    """
    hits = [[(classes == truth)[mask].mean() > HALF for classes in predictions] for mask in digits(truth)]
    return np.array(hits, bool).reshape(-1, len(predictions))


def _scene(sample: dict[str, Any], models: Mapping[str, Any]) -> Scene:
    batch = pseudo_collate([sample])
    truth = batch["data_samples"][0].gt_sem_seg.data[0].numpy()
    with torch.no_grad():
        predictions = [predicted_classes(model.eval().test_step(batch)[0]).numpy() for model in models.values()]
    image = swap_bgr(batch["inputs"][0]).permute(1, 2, 0).numpy()  # mmcv loads BGR
    return Scene(image, truth, predictions, found(truth, predictions))


def _draw(scenes: Sequence[Scene], image: int, axes: Sequence[Any]) -> None:
    scene = scenes[image]
    for axis, picture in zip(
        axes, (scene.image, *(COLOURS[c] for c in (scene.truth, *scene.predictions))), strict=True
    ):
        axis.imshow(picture)
    for mask, hits in zip(digits(scene.truth), scene.found, strict=True):
        rows, columns = np.nonzero(mask)
        for axis, hit in zip(axes[2:], hits, strict=True):
            mark(axis, columns.min(), rows.min(), bool(hit))
