"""Metrics of segmentors: similarity to the pretrained network, sensitivity to style, and mIoU."""

from __future__ import annotations

import math
from collections import defaultdict
from functools import partial
from typing import Any

import numpy as np
import torch
from mmengine.dataset import pseudo_collate
from mmseg.evaluation import IoUMetric
from torch import Tensor, nn

from gcisg_core.channels import in_rgb
from gcisg_core.feature_tap import find_stages, make_tap
from gcisg_core.model_metrics import STAGES, UNLABELLED, FeatureMetrics, ModelMetrics, Value, known
from gcisg_core.probe import naming_sizes
from gcisg_core.views import restyle
from gcisg_seg.evaluation import DomainIoUMetric, predicted_classes
from gcisg_seg.windows import REMEDY, run_windows, windows
from gcisg_suite.progress import progress


@torch.no_grad()
def evaluate(model: Any, dataset: Any, reference: nn.Module | None = None, form: str = "published") -> ModelMetrics:
    """All metrics except Acc_IN, in one pass over the images, one at a time.

    The match rate is the share of pixels, labelled or not, whose predicted class stays the same in a restyled image.
    Features are those of the windows in which the model predicts.

    Args:
        model: A segmentor of mmseg, with or without a method.
        dataset: A data set of mmseg with its test pipeline.
        reference: The pretrained backbone, in eval mode.
        form: Form of the energy.
    """
    model.eval()
    names, ignored = dataset.metainfo["classes"], getattr(dataset, "ignore_index", 255)
    tap = make_tap(model.backbone, [stage for stage in STAGES if stage in find_stages(model.backbone)])
    of_features = FeatureMetrics(form)
    areas = defaultdict(list)
    match: list[float] = []
    score: list[float] = []
    confusion = torch.zeros(len(names), len(names), dtype=torch.long)
    same = total = 0
    for index in progress(range(len(dataset)), "evaluating"):
        batch = pseudo_collate([dataset[index]])
        prediction = predict(model, batch)
        changed = predict(model, restyled(model, batch, index))
        images = model.data_preprocessor(batch, False)["inputs"]
        parts = windows(model.test_cfg, images.shape[-2:])
        of_features.update(
            run_windows(tap, model.backbone, images, parts),
            None if reference is None else run_windows(tap, reference, images, parts),
        )
        kept = int((prediction == changed).sum())
        same, total = same + kept, total + prediction.numel()
        match.append(kept / prediction.numel())
        truth = getattr(batch["data_samples"][0], "gt_sem_seg", None)
        if truth is None:
            score.append(math.nan)
            continue
        labels = truth.data[0].to(prediction)
        domain = batch["data_samples"][0].metainfo.get("domain", "")
        areas[domain].append(DomainIoUMetric.intersect_and_union(prediction, labels, len(names), ignored))
        valid = labels != ignored
        pairs = len(names) * labels[valid] + prediction[valid]
        confusion += torch.bincount(pairs.cpu(), minlength=len(names) ** 2).reshape(confusion.shape)
        score.append((labels == prediction)[valid].double().mean().item())
    return ModelMetrics(
        values={**_task(areas), "match_rate": 100 * same / total},
        per_class=_per_class(names, [image for images in areas.values() for image in images]) if areas else {},
        confusion=confusion if areas else UNLABELLED,
        axes=names,
        match=match,
        score=score,
        failure=[0.0 if math.isnan(share) else 1 - share for share in score],
        **of_features.found(),
    )


def metric_values(model: Any, dataset: Any, reference: nn.Module | None = None) -> dict[str, Value]:
    """``mIoU`` (the mean over target domains), ``aAcc`` and ``match_rate`` in per cent, and those of `METRICS`.

    See :func:`evaluate` for the arguments and :data:`gcisg_core.model_metrics.METRICS`.
    """
    return evaluate(model, dataset, reference).values


def predict(model: Any, batch: dict[str, Any]) -> Tensor:
    """(H, W), the predicted classes of a batch with one image."""
    with naming_sizes(model.backbone, REMEDY):
        return predicted_classes(model.test_step(batch)[0])


def restyled(model: Any, batch: dict[str, Any], seed: int) -> dict[str, Any]:
    """The batch with its image in another style, see :func:`gcisg_core.views.restyle`."""
    image = batch["inputs"][0].float() / 255
    is_rgb = getattr(model.data_preprocessor, "loaded_as_rgb", False)
    return {**batch, "inputs": [in_rgb(partial(restyle, seed=seed), image, not is_rgb) * 255]}


def _totals(areas: list[tuple[Tensor, ...]]) -> dict[str, np.ndarray]:
    totals: dict[str, np.ndarray] = IoUMetric.total_area_to_metrics(*(sum(area) for area in zip(*areas, strict=True)))
    return totals


def _task(areas: dict[str, list[tuple[Tensor, ...]]]) -> dict[str, Value]:
    """mmseg's metrics from its histograms of each image, domain by domain."""
    if not areas:
        return {"mIoU": UNLABELLED, "aAcc": UNLABELLED}
    domains = {domain: _totals(images) for domain, images in areas.items()}
    means = {domain: 100 * float(np.nanmean(totals["IoU"])) for domain, totals in domains.items()}
    pixels = _totals([image for images in areas.values() for image in images])["aAcc"]
    each = {f"{domain}/mIoU": mean for domain, mean in means.items()} if len(means) > 1 else {}
    return {"mIoU": float(np.mean(list(means.values()))), **each, "aAcc": 100 * float(pixels)}


def _per_class(names: tuple[str, ...], areas: list[tuple[Tensor, ...]]) -> dict[str, dict[str, Value]]:
    totals = _totals(areas)
    pixels = torch.stack([area[3] for area in areas]).sum(dim=0)
    return {
        name: {
            "pixels": float(pixels[index]),
            "IoU": known(100 * float(totals["IoU"][index]), "no such pixel"),
            "accuracy": known(100 * float(totals["Acc"][index]), "no such pixel"),
        }
        for index, name in enumerate(names)
    }
