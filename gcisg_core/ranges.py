"""Valid ranges of settings whose names mean the same in every framework."""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple


class Range(NamedTuple):
    """Numbers from `low` to `high`.

    Attributes:
        low: The smallest one; excluded where `above`.
        high: The greatest one.
        whole: Only whole numbers.
        above: Whether `low` is excluded.
    """

    low: float
    high: float = math.inf
    whole: bool = False
    above: bool = False

    def __contains__(self, value: object) -> bool:
        if not isinstance(value, int | float) or not math.isfinite(value) or (self.whole and value != int(value)):
            return False
        return (value > self.low if self.above else value >= self.low) and value <= self.high

    def __str__(self) -> str:
        kind = "a whole number" if self.whole else "a number"
        if self.high < math.inf:
            return f"{kind} from {self.low} to {self.high}"
        return f"{kind} {'above' if self.above else 'of at least'} {self.low}"


COUNT = Range(1, whole=True)
# Pattern of a key's last part, in lower case -> what its numbers must be.
RANGES = {
    r"(base_)?lr|weight_decay(_norm|_bias)?|gamma|color_jitter|brightness|contrast|saturation": Range(0),
    "momentum|min_match_ratio|blur": Range(0, 1),
    "(total_)?batch_size|ims_per_batch|batch_size_per_image|accumulative_counts": COUNT,
    "max_(iters?|epochs)|val_interval|checkpoint_period|num_classes|detections_per_image": COUNT,
    "num_workers|eval_period|warmup_iters": Range(0, whole=True),
    "(crop_)?size|(min|max)_size_train|max_size_test|max_norm|clip_value|warmup_factor": Range(0, above=True),
}
FORMS = [(re.compile(pattern), allowed) for pattern, allowed in RANGES.items()]


def check_ranges(file: object, settings: Mapping[str, Any]) -> None:
    """Refuse numbers outside the range of their key, and NaN for any key.

    Args:
        file: The config file.
        settings: Nested containers.

    Raises:
        ValueError: names file, key, value and range.
    """
    for key, value in _numbers(settings):
        name = next((part for part in reversed(key.split(".")) if not part.isdecimal()), "").lower()
        for form, allowed in FORMS:
            if form.fullmatch(name) and value not in allowed:
                raise ValueError(f"{file}: {key} is {value!r}, expected {allowed}")
        if math.isnan(value):
            raise ValueError(f"{file}: {key} is {value!r}, expected a number")


def _numbers(value: Any, path: str = "") -> Iterator[tuple[str, float]]:
    if isinstance(value, Mapping | list | tuple):
        for key, inner in value.items() if isinstance(value, Mapping) else enumerate(value):
            yield from _numbers(inner, f"{path}.{key}" if path else str(key))
    elif isinstance(value, int | float) and not isinstance(value, bool):
        yield path, value
