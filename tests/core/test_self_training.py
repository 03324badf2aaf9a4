"""Class-balanced pseudo-labels against a slow form in exact arithmetic, written from the rule alone."""

from __future__ import annotations

from fractions import Fraction
from math import floor

import pytest
import torch

from gcisg_core.self_training import UNLABELLED, class_thresholds, portion_at, pseudo_labels


def slow(probabilities, portion):
    """Thresholds and labels by loops over lists; the portion is a text such as ".35"."""
    rows = probabilities.tolist()
    classes = range(len(rows[0]))
    thresholds = []
    for label in classes:
        confidences = sorted((max(row) for row in rows if row.index(max(row)) == label), reverse=True)
        count = floor(len(confidences) * Fraction(portion))
        thresholds.append(confidences[count - 1] if count else 1.0)
    labels = []
    for row in rows:
        ratios = [row[label] / thresholds[label] for label in classes]
        labels.append(ratios.index(max(ratios)) if max(ratios) >= 1 else UNLABELLED)
    return thresholds, labels


@pytest.mark.parametrize("portion", [".2", ".29", ".35", ".5", "1"])
@pytest.mark.parametrize(("count", "classes", "sharpness"), [(400, 5, 3.0), (100, 2, 1.0), (40, 12, 8.0), (3, 4, 1.0)])
def test_thresholds_and_labels_equal_the_slow_form(count, classes, sharpness, portion):
    generator = torch.Generator().manual_seed(count)
    scores = sharpness * torch.randn(count, classes, generator=generator, dtype=torch.float64)
    probabilities = (scores - torch.arange(classes)).softmax(dim=1)  # classes of unequal size
    thresholds = class_thresholds(probabilities, float(portion))
    expected, labels = slow(probabilities, portion)
    assert thresholds.tolist() == expected
    assert pseudo_labels(probabilities, thresholds).tolist() == labels


def test_counts_are_not_lost_to_rounding():
    """100 x 0.29 is 28.999999999999996 in floating point."""
    probabilities = torch.stack([torch.linspace(0.6, 0.99, 100), 1 - torch.linspace(0.6, 0.99, 100)], dim=1)
    labels = pseudo_labels(probabilities, class_thresholds(probabilities, 0.29))
    assert (labels == 0).sum() == 29
    assert labels[-29:].eq(0).all()


def test_a_rare_class_is_kept_as_a_frequent_one():
    """A common threshold would keep the frequent class alone, which is predicted with more confidence."""
    frequent = torch.stack([torch.linspace(0.9, 0.99, 50), 1 - torch.linspace(0.9, 0.99, 50)], dim=1)
    rare = torch.stack([1 - torch.linspace(0.51, 0.6, 10), torch.linspace(0.51, 0.6, 10)], dim=1)
    probabilities = torch.cat([frequent, rare])
    labels = pseudo_labels(probabilities, class_thresholds(probabilities, 0.2))
    assert (labels == 0).sum() == 10
    assert (labels == 1).sum() == 2


def test_a_class_that_is_never_predicted_keeps_the_threshold_of_certainty():
    probabilities = torch.tensor([[0.7, 0.2, 0.1], [0.6, 0.3, 0.1]])
    assert class_thresholds(probabilities, 0.5).tolist() == pytest.approx([0.7, 1.0, 1.0])


def test_the_portion_grows_to_its_end():
    assert [round(portion_at(epoch), 4) for epoch in range(9)] == [0.2, 0.25, 0.3, 0.35, 0.4, 0.45, 0.5, 0.5, 0.5]


@pytest.mark.parametrize(("shape", "portion", "message"), [((4,), 0.2, "probabilities"), ((4, 2), 0.0, "portion")])
def test_what_is_wrong_is_named(shape, portion, message):
    with pytest.raises(ValueError, match=message):
        class_thresholds(torch.rand(shape), portion)
