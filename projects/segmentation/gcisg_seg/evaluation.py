"""The metric: mIoU for each target domain, and their mean. Also trains and evaluates a config."""

from __future__ import annotations

import logging
import time
from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from mmengine.logging import print_log
from mmseg.evaluation import IoUMetric
from mmseg.registry import METRICS

from gcisg_core.integrations.mmengine import build_runner


def predicted_classes(sample: Any) -> torch.Tensor:
    """Return the predicted classes (H, W), int64.

    With one output channel (`num_classes=2, out_channels=1`), mmseg stores them as floats.
    """
    classes: torch.Tensor = sample.pred_sem_seg.data[0]
    return classes.long()


@METRICS.register_module()
class DomainIoUMetric(IoUMetric):
    """mmseg's `IoUMetric` for each target domain (`cityscapes/mIoU`), and the mean over domains (`mIoU`).

    Several targets form one `ConcatDataset`. The meta key `domain` of a sample names its domain;
    `PackSegInputs(meta_keys=...)` must list it. Pixels are counted in float64: in float32, mmseg's sums lose counts
    above 2^24 (eight Cityscapes images). The mIoU is not rounded; with one domain it equals that of the
    official Cityscapes evaluation.

    Args:
        foreground: Also report `foreground_mIoU`, the mean without the first class, for data whose first class is a
            background that covers most pixels.
        **kwargs: Those of mmseg's metric.
    """

    def __init__(self, foreground: bool = False, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.foreground = foreground

    @staticmethod
    def intersect_and_union(
        pred_label: torch.Tensor, label: torch.Tensor, num_classes: int, ignore_index: int
    ) -> tuple[torch.Tensor, ...]:
        """mmseg's four histograms of one image, each (classes,), in float64.

        Labels outside the classes are ignored like `ignore_index`; mmseg would count their pixels as predictions only.
        """
        label = label.masked_fill(label >= num_classes, ignore_index)
        areas = IoUMetric.intersect_and_union(pred_label, label, num_classes, ignore_index)
        return tuple(area.double() for area in areas)

    def process(self, data_batch: dict, data_samples: Sequence[dict]) -> None:
        """Count each sample with a label, by domain. Raises `ValueError` if a sample has no domain."""
        for sample in data_samples:
            if "domain" not in sample:
                raise ValueError(f"{sample.get('img_path')}: no 'domain'; list it in PackSegInputs(meta_keys=...)")
            if "gt_sem_seg" not in sample:
                self.results.append((sample["domain"], None))
                continue
            start = len(self.results)
            super().process(data_batch, [sample])
            self.results[start:] = [(sample["domain"], areas) for areas in self.results[start:]]

    def compute_metrics(self, results: list) -> dict[str, float]:
        """Return metrics in per cent, each named `domain/metric`; `mIoU` is the mean over the domains."""
        if self.format_only:
            return super().compute_metrics(results)
        for domain in sorted({domain for domain, areas in results if areas is None}):
            print_log(f"{domain} has no labels, so it has no mIoU.", logger="current", level=logging.WARNING)
        domains = defaultdict(list)
        for domain, areas in results:
            if areas is not None:
                domains[domain].append(areas)
        metrics: dict[str, float] = {}
        for domain, areas in domains.items():
            rounded = super().compute_metrics(areas)  # logs mmseg's table of classes
            metrics.update({f"{domain}/{name}": float(value) for name, value in rounded.items()})
            iou = self.total_area_to_metrics(*(sum(area) for area in zip(*areas, strict=True)))["IoU"]
            metrics[f"{domain}/mIoU"] = 100 * float(np.nanmean(iou))
            if self.foreground:
                metrics[f"{domain}/foreground_mIoU"] = 100 * float(np.nanmean(iou[1:]))
        if not domains:
            return {}
        metrics["mIoU"] = float(np.mean([metrics[f"{domain}/mIoU"] for domain in domains]))
        return metrics


def train_and_test(file: Path, work_dir: Path, overrides: Sequence[str], seed: int) -> dict[str, Any]:
    """Train a config and evaluate it; a stopped run is resumed.

    Returns:
        ``test``: mIoU, aAcc and mAcc in per cent, as means over the domains. ``seconds``: duration of the training.
    """
    start = time.perf_counter()
    runner = build_runner(file, overrides, work_dir, seed, resume=True)
    runner.train()
    result: dict[str, Any] = {"seconds": time.perf_counter() - start}
    metrics = runner.test()
    result["test"] = {
        key: float(np.mean([value for name, value in metrics.items() if name.endswith(f"/{key}")]))
        for key in ("mIoU", "aAcc", "mAcc")
    }
    return result
