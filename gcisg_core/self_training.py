"""Class-balanced self-training (CBST): which predictions on unlabelled images become labels.

N images (or positions), C classes.
Source: CBST (Zou et al., ECCV 2018), Eq. 4 and Algorithm 2; CRST (Zou et al., ICCV 2019).
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from gcisg_core.config import require

# The label of images without a pseudo-label.
UNLABELLED = -1


def portion_at(epoch: int, start: float = 0.2, step: float = 0.05, end: float = 0.5) -> float:
    """The share of each class that is kept in an epoch (counted from 0); the defaults are GCISG's (Section 4.5)."""
    return min(start + step * epoch, end)


def class_thresholds(probabilities: Tensor, portion: float) -> Tensor:
    """The confidence threshold that keeps a ``portion`` of the images predicted as each class.

    Args:
        probabilities: (N, C), rows that sum to one.
        portion: p, in (0, 1].

    Returns:
        (C,). For class c: number floor(N_c p) of the descending confidences of the N_c images predicted as c; 1 if that
        number is 0.

    Raises:
        ValueError: an argument is out of range.
    """
    require(probabilities.ndim == 2, "probabilities", tuple(probabilities.shape), "of the shape (N, C)")
    require(0 < portion <= 1, "portion", portion, "in (0, 1]")
    confidences, predictions = probabilities.max(dim=1)
    thresholds = torch.ones_like(probabilities[0])
    for label in range(probabilities.shape[1]):
        own = confidences[predictions == label].sort(descending=True).values
        kept = math.floor(len(own) * portion + 1e-9)  # 100 x 0.29 is below 29 in floating point
        if kept:
            thresholds[label] = own[kept - 1]
    return thresholds


def pseudo_labels(probabilities: Tensor, thresholds: Tensor) -> Tensor:
    """The class of the largest probability / threshold, where that is at least 1; else ``UNLABELLED``.

    Shape:
        (N, C), (C,) -> (N,).
    """
    ratios, labels = (probabilities / thresholds).max(dim=1)
    return torch.where(ratios >= 1, labels, UNLABELLED)
