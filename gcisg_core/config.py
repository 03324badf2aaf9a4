"""Settings of a method. Dataclasses hold all defaults; the configs of every framework are checked against them."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, TypeVar

from gcisg_core.feature_tap import StageLocation
from gcisg_core.lookup import choose, unknown_name
from gcisg_core.old_names import SETTINGS, rename_keys

S = TypeVar("S", bound="Settings")


@dataclass(frozen=True)
class Settings:
    """The settings of every method; each method adds its own fields, with the defaults of its paper.

    Attributes:
        stage_locations: Stage -> path of a submodule, or key or position in the backbone's output. For backbones whose
            stages :func:`gcisg_core.feature_tap.find_stages` does not find.
        task_view: Which view of an image the task sees, 0 or 1.
        other_view: How the other view is made (:mod:`gcisg_core.other_view`). ``same``: another draw of the
            task's transform. ``style_only``: the same geometry in another style, by a strong jitter and a blur.
            ``style_pasta``: the same, and perturbed Fourier amplitudes. ``identical``: the task's view again, as a
            control. Or a dictionary of arguments of :class:`gcisg_core.views.PhotometricView`, which replace those of
            ``style_only``.
        recompute_other_view: Compute the student's activations of the other view again in the backward pass, instead of
            keeping them: one more forward pass, the memory of one view instead of two, the same gradients.
    """

    # Named bundles of other defaults, chosen by `preset`.
    presets: ClassVar[Mapping[str, Mapping[str, Any]]] = {"paper": {}}

    stage_locations: Mapping[int, StageLocation] | None = None
    task_view: int = 0
    other_view: str | Mapping[str, Any] = "same"
    recompute_other_view: bool = False

    def __post_init__(self) -> None:
        require(self.task_view in (0, 1), "task_view", self.task_view, "0 or 1")
        for field in dataclasses.fields(self):
            value = getattr(self, field.name)
            numbers = [
                item for item in (value if isinstance(value, tuple) else [value]) if isinstance(item, int | float)
            ]
            require(all(map(math.isfinite, numbers)), field.name, value, "finite")
            if field.name.startswith("lambda"):
                require(min(numbers, default=0) >= 0, field.name, value, "at least 0")

    @property
    def views_needed(self) -> int:
        """How many views of an image a step needs; a method that compares views overrides it."""
        return self.task_view + 1

    @property
    def views_drawn(self) -> int:
        """How many of them the task's transform draws: all, or only the task view if the other view is made from it."""
        return self.views_needed if self.other_view == "same" else 1


def require(condition: bool, field: str, value: object, expected: str) -> None:
    """Raise a ValueError that names the field, the value and what was expected, unless the condition holds."""
    if not condition:
        raise ValueError(f"{field} must be {expected}, got {value!r}")


def require_stages(field: str, stages: tuple[int, ...]) -> None:
    """Raise a ValueError unless the stages are distinct numbers from 0 to 4."""
    require(set(stages) <= set(range(5)) and len(set(stages)) == len(stages), field, stages, "distinct stages 0 to 4")


def parse_settings(cls: type[S], values: Mapping[str, Any], beside: Sequence[str] = ()) -> S:
    """Build settings from a config's plain values.

    Args:
        cls: The method's dataclass.
        values: Field -> value; lists stand for tuples; ``preset`` names a bundle of defaults of the class.
        beside: Further names that the config accepts here, for the list in the error message.

    Raises:
        ValueError: a field is unknown (the nearest valid name is given), or a value has the wrong type or range.
    """
    given = dict(values)
    fields = {field.name for field in dataclasses.fields(cls)}
    rename_keys(given, {old: new for old, new in SETTINGS.items() if new in fields and old not in fields})
    merged = {**choose(cls.presets, given.pop("preset", "paper"), "preset"), **given}
    defaults = {field.name: field.default for field in dataclasses.fields(cls)}
    nested = {field.name for field in dataclasses.fields(cls) if "Mapping" in str(field.type)}
    for name in merged:
        if name not in defaults:
            raise unknown_name(name, [*defaults, "preset", *beside], "setting")
    return cls(**{name: _coerce(name, value, defaults[name], name in nested) for name, value in merged.items()})


def _coerce(name: str, value: Any, default: Any, nested: bool = False) -> Any:
    """The value in the type of the default; None stands for any type. A mapping too, where it may be ``nested``."""
    if isinstance(value, list):
        value = tuple(value)
    if nested and isinstance(value, Mapping):
        return value
    if isinstance(default, tuple):
        require(isinstance(value, tuple), name, value, f"a list like {list(default)}")
    elif isinstance(default, bool) or isinstance(value, bool):
        require(type(value) is type(default), name, value, f"a {type(default).__name__}")
    elif isinstance(default, float) and isinstance(value, int):
        return float(value)
    elif default is not None and not (isinstance(default, float) and isinstance(value, tuple)):
        require(isinstance(value, type(default)), name, value, f"a {type(default).__name__}")
    return value


def per_stage(field: str, weight: float | tuple[float, ...], stages: tuple[int, ...]) -> dict[int, float]:
    """Stage -> weight of Eq. 10, from one number for all stages or one for each; weights of zero are left out.

    Raises:
        ValueError: the number of weights differs from the number of stages, or one is negative.
    """
    weights = weight if isinstance(weight, tuple) else (weight,) * len(stages)
    require(len(weights) == len(stages), field, weight, f"one number, or one for each of the stages {stages}")
    require(all(w >= 0 for w in weights), field, weight, "at least 0")
    return {stage: w for stage, w in zip(stages, weights, strict=True) if w > 0}
