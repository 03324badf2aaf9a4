"""The official figure of VisDA-17: the mean of the per-class accuracies."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from mmengine.evaluator import BaseMetric
from mmengine.logging import MMLogger
from mmengine.registry import METRICS
from tabulate import tabulate


@METRICS.register_module()
class ClassAccuracy(BaseMetric):
    """Percentages: ``mean_class`` (the official figure) and ``overall``; the table of all classes goes to the log.

    The mean leaves out classes without an image.
    """

    default_prefix = "accuracy"

    def process(self, data_batch: Any, data_samples: Sequence[dict[str, Any]]) -> None:
        self.results += [(int(sample["label"]), int(sample["prediction"])) for sample in data_samples]

    def compute_metrics(self, results: list[tuple[int, int]]) -> dict[str, float]:
        from sklearn.metrics import confusion_matrix  # takes a second to load; training need not wait for it

        names = self.dataset_meta["classes"]
        labels, predictions = np.array(results).T
        if (labels < 0).all():
            MMLogger.get_current_instance().warning("The images have no labels: there is no accuracy on them.")
            return {}
        matrix = confusion_matrix(labels, predictions, labels=range(len(names)))
        counts = matrix.sum(axis=1)
        accuracies = 100 * matrix.diagonal() / np.where(counts, counts, np.nan)
        MMLogger.get_current_instance().info(
            "\n"
            + tabulate(zip(names, counts, accuracies, strict=True), ("class", "images", "accuracy"), floatfmt=".2f")
        )
        return {
            "mean_class": float(np.nanmean(accuracies)),
            "overall": float(100 * matrix.trace() / matrix.sum()),
        }
