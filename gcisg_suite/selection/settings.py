"""The criteria that choose a checkpoint, and their settings in a config."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any, NamedTuple

from gcisg_core.lookup import choose, unknown_name


class Criterion(NamedTuple):
    """How a metric chooses: its name in :class:`gcisg_core.model_metrics.ModelMetrics`, and whether more is better."""

    metric: str
    more: bool


CRITERIA = {
    "source": Criterion("", True),  # the task's own metric on source validation images
    "match_rate": Criterion("match_rate", True),
    "cka": Criterion("cka", True),
    "energy": Criterion("energy_0", False),
}
COMBINED = "mean_rank"  # over all criteria that have a number
TARGET = "target"  # the task's own metric on the target: needs its labels, and is told as such
CHOICES = (*CRITERIA, COMBINED, TARGET)


@dataclass(frozen=True)
class SelectionSettings:
    """`selection` in a config of mmengine, `SELECTION` in one of Detectron2: the only home of the defaults.

    Attributes:
        every_checkpoint: Evaluate each checkpoint when it is written, in the training process; otherwise only
            `gcisg select` does.
        by: The criterion, one of :data:`CHOICES`; ``target`` uses target labels.
        source: Source images that were not trained on, in the layout of the training data; empty: none.
        data: Target images, labelled or not; empty: the config's validation images.
    """

    every_checkpoint: bool = False
    by: str = "mean_rank"
    source: str = ""
    data: str = ""

    @classmethod
    def read(cls, values: Mapping[str, Any] | None) -> SelectionSettings:
        """From a config's plain values.

        Raises:
            ValueError: a name is unknown; the nearest valid one is given.
        """
        given = dict(values or {})
        names = [field.name for field in fields(cls)]
        for name in given:
            if name not in names:
                raise unknown_name(name, names, "selection setting")
        settings = cls(**given)
        choose(dict.fromkeys(CHOICES, True), settings.by, "criterion")
        return settings
