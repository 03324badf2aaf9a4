"""Task-independent metrics of features and predictions."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property, partial
from typing import Any, NamedTuple, TypeAlias

from torch import Tensor

from gcisg_core.metrics import Estimate, FeatureSample, LinearCKA, estimate_energies

# A number, or a sentence that gives the reason why there is none.
Value: TypeAlias = "float | str"
STAGES = (1, 2, 3, 4)
POWERS = (0, 1, 2)  # of the energy
UNLABELLED = "the images have no labels"
TOO_FEW_IMAGES = "needs at least 2 images"


def known(value: float, otherwise: str) -> Value:
    """Return a finite number unchanged; otherwise ``otherwise``."""
    return value if math.isfinite(value) else otherwise


def values_alone(values: Mapping[str, Value]) -> dict[str, float]:
    """The metrics that are numbers."""
    return {name: value for name, value in values.items() if not isinstance(value, str)}


@dataclass
class ModelMetrics:
    """The metrics of one model on a set of N images.

    Attributes:
        values: Metric -> value: those of the task and of :data:`METRICS`.
        per_class: Class -> metric -> value.
        confusion: Counts (truth, prediction), or why there are none.
        axes: Names of the rows and columns of ``confusion``.
        match: (N,), share of each image's prediction that a change of style does not alter; NaN without prediction.
        score: (N,), share of each image's prediction that agrees with the truth; NaN without truth.
        failure: (N,), how bad each image's prediction is; the page shows the largest.
        sample: Penultimate features (n, d) and the images to which they belong.
        reference: Those of the pretrained network; empty without one.
        labels: Classes of all images, if each image has one, for the pictures.
        alignments: Stage -> linear CKA with the pretrained network's features; empty without one.
        form: Form of the energy, see :func:`gcisg_core.metrics.hyperspherical_energy`.
    """

    values: dict[str, Value] = field(default_factory=dict)
    per_class: dict[str, dict[str, Value]] = field(default_factory=dict)
    confusion: Tensor | str = ""
    axes: Sequence[str] = ()
    match: Sequence[float] = ()
    score: Sequence[float] = ()
    failure: Sequence[float] = ()
    sample: FeatureSample = field(default_factory=FeatureSample)
    reference: FeatureSample = field(default_factory=FeatureSample)
    labels: Sequence[int] = ()
    alignments: Mapping[int, Value] = field(default_factory=dict)
    form: str = "published"

    def __post_init__(self) -> None:
        for name, metric in METRICS.items():
            found = metric.compute(self)
            if found is None or name in self.values:
                continue
            value, error = found if isinstance(found, Estimate) else (found, None)
            self.values[name] = value if isinstance(value, str) else known(value, metric.not_finite)
            if error is not None and not isinstance(self.values[name], str):
                self.values[f"{name}_error"] = error

    @cached_property
    def energies(self) -> dict[int, Estimate]:
        """Power -> energy of the penultimate features; empty below 2 images."""
        return estimate_energies(self.sample.rows, self.sample.seen, self.form) if self.sample.seen > 1 else {}


class Metric(NamedTuple):
    """A row of :data:`METRICS`.

    Attributes:
        head: Its name in tables.
        compute: The metric. It returns a number, a number with its standard error, a sentence that gives the reason
            why there is none, or None where it does not apply.
        digits: Decimal places shown.
        not_finite: The sentence for a number that is not finite.
    """

    head: str
    compute: Callable[[ModelMetrics], Value | Estimate | None]
    digits: int = 4
    not_finite: str = "not finite"


def _penultimate_alignment(evaluated: ModelMetrics) -> Value:
    return (
        evaluated.alignments[max(evaluated.alignments)]
        if evaluated.alignments
        else "no pretrained network to compare with"
    )


def _alignment(stage: int, evaluated: ModelMetrics) -> Value | None:
    return evaluated.alignments.get(stage)


def _energy(power: int, evaluated: ModelMetrics) -> Estimate | str:
    return evaluated.energies.get(power, TOO_FEW_IMAGES)


# For any model of any task. A new metric is a function and a row here.
METRICS: dict[str, Metric] = {
    "cka": Metric("CKA, penultimate", _penultimate_alignment),
    **{f"cka_stage{stage}": Metric(f"CKA, stage {stage}", partial(_alignment, stage)) for stage in STAGES},
    **{
        f"energy_{power}": Metric(
            f"energy, power {power}", partial(_energy, power), not_finite="infinite: two images have the same features"
        )
        for power in POWERS
    },
}


class FeatureMetrics:
    """Linear CKA of each stage with the pretrained network, and energy of the deepest stage, batch by batch.

    A stage's features are the means of its map over positions. Memory does not grow with the number of images.

    Args:
        form: Form of the energy, see :func:`gcisg_core.metrics.hyperspherical_energy`.
        sample_size: Number of features for the energy; with more images, it is an estimate.
        seed: Seed of the choice of images.
    """

    def __init__(self, form: str = "published", sample_size: int = 2048, seed: int = 0) -> None:
        self.form = form
        self.sample, self.reference = FeatureSample(sample_size, seed), FeatureSample(sample_size, seed)
        self._cka: dict[int, LinearCKA] = {}

    def update(self, features: Mapping[int, Tensor], reference: Mapping[int, Tensor] | None = None) -> None:
        """Add maps, stage -> (B, C, H, W), and the pretrained network's of the same images."""
        pooled = {stage: maps.mean(dim=(2, 3)) for stage, maps in features.items()}
        self.sample.update(pooled[max(pooled)])
        if reference is None:
            return
        theirs = {stage: maps.mean(dim=(2, 3)) for stage, maps in reference.items()}
        self.reference.update(theirs[max(theirs)])
        for stage in pooled:
            self._cka.setdefault(stage, LinearCKA()).update(pooled[stage], theirs[stage])

    def found(self) -> dict[str, Any]:
        """The fields of :class:`ModelMetrics` that describe features."""
        alignments: dict[int, Value] = {}
        for stage, cka in sorted(self._cka.items()):
            number = cka.compute() if self.sample.seen > 1 else math.nan
            alignments[stage] = known(number, TOO_FEW_IMAGES if self.sample.seen < 2 else "the features do not vary")
        return {"sample": self.sample, "reference": self.reference, "alignments": alignments, "form": self.form}
