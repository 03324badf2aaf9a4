"""Task-independent metrics: invariance to style, and similarity to the pretrained network."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from gcisg_core.lookup import choose


def match_rate(predictions: Tensor, restyled_predictions: Tensor) -> float:
    """Share of images whose predicted class stays the same when the style changes, in [0, 1].

    Args:
        predictions: (N,), predicted classes.
        restyled_predictions: (N,), those of the same images after :func:`gcisg_core.views.restyle`.

    Raises:
        ValueError: the shapes differ or there are no predictions.

    Source: GCISG (ECCV 2022), Section 4.
    """
    if predictions.shape != restyled_predictions.shape or not predictions.numel():
        raise ValueError(
            f"predictions and restyled_predictions must have one shape and at least one element, got "
            f"{tuple(predictions.shape)} and {tuple(restyled_predictions.shape)}"
        )
    return (predictions == restyled_predictions).double().mean().item()


class LinearCKA:
    """Linear centred kernel alignment of two feature sets, accumulated batch by batch in constant memory.

    ||Y'X||_F^2 / (||X'X||_F ||Y'Y||_F) with the columns of X (N, d1) and Y (N, d2) centred; 1 for features that
    agree up to rotation and scale. Sums are kept in float64 on the CPU: d1^2 + d2^2 + d1 d2 numbers.

    Source: Kornblith et al., Similarity of neural network representations revisited (ICML 2019), Eq. 4.
    """

    def __init__(self) -> None:
        self._count = 0
        self._sums: list[Tensor] = []

    def update(self, x: Tensor, y: Tensor) -> None:
        """Add features (n, d1) and (n, d2) of the same n images.

        Raises:
            ValueError: the numbers of rows differ.
        """
        if x.ndim != 2 or y.ndim != 2 or len(x) != len(y):
            raise ValueError(f"x and y must be (n, d1) and (n, d2), got {tuple(x.shape)} and {tuple(y.shape)}")
        x, y = x.detach().cpu().double(), y.detach().cpu().double()
        sums = [x.sum(0), y.sum(0), x.T @ x, y.T @ y, y.T @ x]
        self._sums = [old + new for old, new in zip(self._sums, sums, strict=True)] if self._sums else sums
        self._count += len(x)

    def compute(self) -> float:
        """The alignment in [0, 1]; NaN if one of the sets does not vary.

        Raises:
            ValueError: fewer than two images were added.
        """
        if self._count < 2:
            raise ValueError(f"linear CKA needs at least 2 images, got {self._count}")
        sum_x, sum_y, xx, yy, yx = self._sums
        norms = [
            (products - torch.outer(left, right) / self._count).norm()
            for products, left, right in ((xx, sum_x, sum_x), (yy, sum_y, sum_y), (yx, sum_y, sum_x))
        ]
        return (norms[2].square() / (norms[0] * norms[1])).item()


# Power s -> energy of a pair at distance d, as the published numbers were computed, and as textbooks define it.
_PUBLISHED: dict[int, Callable[[Tensor], Tensor]] = {
    0: lambda d: -d.square().log(),
    1: lambda d: 1 / d,
    2: lambda d: d.pow(-2),
}
ENERGY_FORMS = {"published": _PUBLISHED, "textbook": {**_PUBLISHED, 0: lambda d: -d.log()}}


class Estimate(NamedTuple):
    """A number and its standard error, 0 where the number is exact."""

    value: float
    error: float


def hyperspherical_energy(features: Tensor, power: int = 0, form: str = "published") -> float:
    """Mean energy over all pairs of l2-normalised features: the lower, the more diverse.

    Args:
        features: (N, d); N^2 distances are held in float64.
        power: 0, 1 or 2: -log d^2, d^-1, d^-2 (``form="textbook"`` has -log d for power 0).
        form: ``published``, which fits the numbers of CSG, or ``textbook``.

    Returns:
        The energy; infinite where two features coincide.

    Raises:
        ValueError: fewer than two features, or an unknown power or form.

    Source: CSG (ICLR 2021), Section 3.1; Liu et al., Minimum hyperspherical energy (NeurIPS 2018).
    """
    return _energies(_distances(features), power, form).mean().item()


def estimate_energies(sample: Tensor, population: int, form: str = "published") -> dict[int, Estimate]:
    """Estimate the energies of a set, power -> estimate, from a simple random sample (:class:`FeatureSample`).

    The mean over the sample's pairs is a U-statistic of order two: its error is that of the first term of Hoeffding's
    decomposition, 2 s / sqrt(n) with s the standard deviation over features of their mean energy, times
    sqrt(1 - n / N) for a population that is finite.

    Args:
        sample: (n, d).
        population: N, how many features it was drawn from; n makes the estimates exact.
        form: See :func:`hyperspherical_energy`.

    Raises:
        ValueError: as there, or the population is smaller than the sample.
    """
    if population < len(sample):
        raise ValueError(f"population must be at least the sample's {len(sample)} features, got {population}")
    distances, scale = _distances(sample), 2 * math.sqrt((1 - len(sample) / population) / len(sample))
    means = {power: _energies(distances, power, form) for power in choose(ENERGY_FORMS, form, "form")}
    return {
        power: Estimate(mean.mean().item(), scale * mean.std().item() if scale else 0.0)
        for power, mean in means.items()
    }


def _distances(features: Tensor) -> Tensor:
    """(N, N), between the l2-normalised features (N, d), in float64."""
    if features.ndim != 2 or len(features) < 2:
        raise ValueError(f"features must have the shape (N, d) with N of at least 2, got {tuple(features.shape)}")
    unit = F.normalize(features.detach().cpu().double())
    # Differences, not products: of two close features the latter would leave rounding errors alone.
    return torch.cdist(unit, unit, compute_mode="donot_use_mm_for_euclid_dist")


def _energies(distances: Tensor, power: int, form: str) -> Tensor:
    """(N,), the mean energy of each feature with all others."""
    energies = choose(ENERGY_FORMS, form, "form")
    if power not in energies:
        raise ValueError(f"power must be 0, 1 or 2, got {power!r}")
    return energies[power](distances).fill_diagonal_(0).sum(dim=1) / (len(distances) - 1)


class FeatureSample:
    """A simple random sample of rows, in one pass and constant memory; all rows, in order, if they fit.

    Which rows are drawn depends on their number and the seed alone, so that models are compared on the same images.

    Args:
        size: Most rows kept.
        seed: Seed of the choice.

    Source: Vitter, Random sampling with a reservoir (1985), algorithm R.
    """

    def __init__(self, size: int = 2048, seed: int = 0) -> None:
        self.size, self.seen = size, 0
        self.indices: list[int] = []
        self._rows: list[Tensor] = []
        self._generator = torch.Generator().manual_seed(seed)

    def update(self, rows: Tensor) -> None:
        """Add rows (n, d)."""
        for row in rows.detach().cpu():
            if self.seen < self.size:
                self._rows.append(row.clone())
                self.indices.append(self.seen)
            elif (slot := int(torch.randint(self.seen + 1, (), generator=self._generator))) < self.size:
                self._rows[slot], self.indices[slot] = row.clone(), self.seen
            self.seen += 1

    @property
    def rows(self) -> Tensor:
        """(min(N, size), d), those of `indices`."""
        return torch.stack(self._rows)
