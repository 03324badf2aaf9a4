"""Where the stages of a config's backbone are, and which of them each method reads."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from torch import nn

from gcisg_core.feature_tap import StageLocation, StageTap
from gcisg_core.probe import image_sizes
from gcisg_core.regularizers import METHODS, Regularizer, read_method
from gcisg_core.stages import find_stages
from gcisg_suite.tasks import framework_of, read_config


def describe(file: str, overrides: list[str]) -> Iterator[str]:
    """The lines of `gcisg doctor --config`.

    Raises:
        ValueError: the config cannot be used, or no stage can be found.
    """
    student, values = framework_of(file).door("student")(read_config(file, overrides))
    name, settings = values.get("method", "none"), read_method(values)[1]
    given = settings.stage_locations
    yield f"{type(student).__name__}, stages {'by stage_locations' if given else 'found'}:"
    yield from table([("stage", "module", "stride", "channels"), *stage_rows(student, given or find_stages(student))])
    yield ""
    yield f"What each method reads; {name} is the config's, the others as they are by default:"
    rows: list[tuple[str, ...]] = [("method", "setting", "stages")]
    for other, method in METHODS.items():
        chosen = settings if other == name else None
        rows += method_rows(other, method, student, chosen, given)
    yield from table(rows)


def stage_rows(student: nn.Module, locations: Mapping[int, StageLocation]) -> Iterator[tuple[str, ...]]:
    """Stage, where it is, its stride and its channels, seen in one pass."""
    features, (height, _) = StageTap(locations).look(student, image_sizes(student))
    for stage, place in sorted(locations.items()):
        maps = features[stage]
        yield str(stage), output_name(place), str(round(height / maps.shape[2])), str(maps.shape[1])


def method_rows(
    name: str, method: type[Regularizer], student: nn.Module, settings: Any, given: Mapping[int, StageLocation] | None
) -> list[tuple[str, ...]]:
    """One row for each setting that names stages."""
    places = method.places(student, given)
    rows: list[tuple[str, ...]] = []
    for field in dataclasses.fields(method.settings_class):
        if field.name == "stage" or field.name.startswith("stages"):
            value = field.default if settings is None else getattr(settings, field.name)
            stages = value if isinstance(value, tuple) else (value,)
            read = ", ".join(f"{s} {output_name(places[s]) if s in places else '(no such stage)'}" for s in stages)
            rows.append((name, field.name, read or "none"))
    return rows or [(name, "", "no features")]


def output_name(place: StageLocation) -> str:
    """A location as text."""
    return f"output {place}" if isinstance(place, int) else place


def table(rows: Sequence[tuple[str, ...]]) -> Iterator[str]:
    """Rows in columns of equal width."""
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    for row in rows:
        yield "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()
