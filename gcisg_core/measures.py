"""What is measured of a trained model's features and predictions, whatever its task."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TypeAlias

from torch import Tensor

from gcisg_core.metrics import FeatureSample, LinearCKA, estimate_energies

# A number, or the sentence that says why there is none.
Value: TypeAlias = "float | str"
STAGES = (1, 2, 3, 4)
POWERS = (0, 1, 2)  # of the energy
FEW = "needs at least 2 images"


def known(value: float, otherwise: str) -> Value:
    """A finite number as it is; ``otherwise`` in place of one that is not."""
    return value if math.isfinite(value) else otherwise


def values_alone(values: Mapping[str, Value]) -> dict[str, float]:
    """The measures that are numbers."""
    return {name: value for name, value in values.items() if not isinstance(value, str)}


@dataclass
class Measured:
    """What one model did on a set of N images.

    Attributes:
        values: Measure -> value.
        per_class: Class -> measure -> value.
        confusion: Counts (truth, prediction), or why there are none.
        axes: Names of the rows and columns of ``confusion``.
        match: (N,), share of each image's prediction that a change of style leaves; NaN where it has none.
        score: (N,), share of each image's prediction that agrees with the truth; NaN where it has none.
        failure: (N,), how bad each image's prediction is; the page shows the largest.
        sample: Penultimate features (n, d) and which images they are of.
        reference: Those of the pretrained network; empty where there is none.
        labels: Classes of all images where an image has one, for the pictures.
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


class FeatureMeasures:
    """Linear CKA of each stage with the pretrained network's, and the energy of the deepest stage, batch by batch.

    A stage's features are its map's means over positions. Memory does not grow with the number of images.

    Args:
        form: Of the energy, see :func:`gcisg_core.metrics.hyperspherical_energy`.
        sample_size: Features that the energy is of; above that number of images it is an estimate.
        seed: Of their choice.
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

    def values(self) -> dict[str, Value]:
        """``cka_stage1`` ..., ``cka`` (the deepest stage's), ``energy_0`` ... and ``energy_0_error`` ...."""
        result: dict[str, Value] = {}
        for stage, cka in sorted(self._cka.items()):
            number = cka.compute() if self.sample.seen > 1 else math.nan
            result[f"cka_stage{stage}"] = known(number, FEW if self.sample.seen < 2 else "the features do not vary")
            result["cka"] = result[f"cka_stage{stage}"]
        if not self._cka:
            result["cka"] = "no pretrained network to compare with"
        return {**result, **energies(self.sample, self.form)}


def energies(sample: FeatureSample, form: str = "published") -> dict[str, Value]:
    """``energy_0``, ``energy_1``, ``energy_2`` and the standard error of each, ``energy_0_error`` ...."""
    if sample.seen < 2:
        return {f"energy_{power}": FEW for power in POWERS}
    result: dict[str, Value] = {}
    for power, (value, error) in estimate_energies(sample.rows, sample.seen, form).items():
        result[f"energy_{power}"] = known(value, "infinite: two images have the same features")
        if math.isfinite(value):
            result[f"energy_{power}_error"] = error
    return result
