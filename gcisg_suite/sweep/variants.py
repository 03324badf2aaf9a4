"""Reads sweep files: the configs and overrides that `gcisg sweep` runs, in miniature or on the papers' data."""

from __future__ import annotations

import itertools
from pathlib import Path
from typing import Any, NamedTuple

from gcisg_core.lookup import choose, unknown_name
from gcisg_core.problems import DataError
from gcisg_suite.coco.values import shown
from gcisg_suite.tasks import TASKS
from gcisg_suite.text import read_yaml

KEYS = ("task", "variants", "grid", "paper")


class Variant(NamedTuple):
    """A config (its name in the task's project, or its path without suffix) with overrides in the framework's form."""

    config: str
    overrides: list[str]

    @property
    def is_mini(self) -> bool:
        return self.config.endswith("_mini")


def read_sweep(path: Path, scale: str = "mini", config: Path | None = None) -> tuple[str, dict[str, Variant]]:
    """The task of a sweep, and name -> variant, with all combinations of the grid.

    Args:
        path: The sweep's file.
        scale: ``mini``, or ``paper`` for each config's counterpart on the papers' data. The file's ``paper`` replaces
            other keys at that scale.
        config: Replaces the config of a sweep that has only one.

    Raises:
        ValueError: a key or the task is unknown, the sweep does not exist at this scale, or ``config`` is given for a
            sweep with several configs.
    """
    content = read_yaml(path)
    _check(path, "it", content, dict, "keys and values")
    for key in content:
        if key not in KEYS:
            raise unknown_name(key, KEYS, f"key in {path}")
    task = content.get("task", next(iter(TASKS)))
    _check(path, "task", task, str, f"one of {', '.join(TASKS)}")
    recipe = choose(TASKS, task, f"task in {path}").recipe
    paper = content.get("paper", {})
    if scale == "paper":
        if paper is False:
            raise ValueError(f"{path} is for the miniature only (paper: false)")
        content |= paper
    variants = content.get("variants") or ({config.stem: {"config": ""}} if config else {})
    grid = content.get("grid") or {}
    _check(path, "variants", variants, dict, "names and what each runs")
    for name, variant in variants.items():
        _check(path, f"variants.{name}", variant, dict, "config and overrides")
        _check(path, f"variants.{name}.config", variant.get("config"), str, "the name of a config")
        _check(path, f"variants.{name}.overrides", variant.get("overrides", {}), dict, "settings and their values")
    _check(path, "grid", grid, dict, "settings and their values")
    for key, values in grid.items():
        _check(path, f"grid.{key}", values, list, "a list of values")
    if config and len({variant["config"] for variant in variants.values()}) > 1:
        raise ValueError(f"{path} compares several configs, which --config {config} cannot replace")
    result = {}
    for name, variant in variants.items():
        chosen_config = _name(task, config) if config else variant["config"]
        settings = variant.get("overrides", {})
        if scale == "paper":  # of the config, and of the one that self-training starts from
            chosen_config = _counterpart(chosen_config, recipe)
            settings = {key: _counterpart(value, recipe) for key, value in settings.items()}
        for values in itertools.product(*grid.values()):
            chosen = dict(zip(grid, values, strict=True))
            label = ", ".join([name, *(f"{key.rpartition('.')[2]} {value}" for key, value in chosen.items())])
            overrides = _overrides(task, {**settings, **chosen})
            result[label] = Variant(chosen_config, overrides)
    return task, result


def check_configs(path: Path, task: str, variants: dict[str, Variant]) -> None:
    """Raise `DataError` if a variant of the sweep in `path` names a config that does not exist."""
    row = TASKS[task]
    for name, variant in variants.items():
        file = row.folder / f"{variant.config}{row.suffix}"
        if not file.is_file():
            what = f"the config of variant {name!r} is {variant.config!r}, but there is no file {file}"
            raise DataError(path, what, f"Name a config of {row.folder}, without {row.suffix}")


def _check(path: Path, field: str, value: Any, kind: type, expected: str) -> None:
    if not isinstance(value, kind):
        raise DataError(path, f"{field} is {shown(value)}, expected {expected}", "Correct it")


def _counterpart(value: Any, recipe: str) -> Any:
    """The full-size counterpart of a miniature config; other values are returned unchanged."""
    return value.removesuffix("mini") + recipe if isinstance(value, str) and value.endswith("_mini") else value


def _name(task: str, config: Path) -> str:
    """The name of a config in the task's project; for any other file, its path without suffix."""
    return config.stem if config.resolve().parent.name == task else str(config.resolve().with_suffix(""))


def _overrides(task: str, settings: dict[str, Any]) -> list[str]:
    return TASKS[task].framework.overrides(settings)
