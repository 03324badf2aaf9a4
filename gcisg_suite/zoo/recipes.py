"""Makes the text of `docs/recipes.md`: the settings of the zoo's full-size recipes, and the origin of each.

Values are read from the resolved configs, origins from `docs/recipes.yml`, whose first lines describe its format.
`tools/zoo_write.py` writes the page. It shows a paper's figure only beside a recipe that follows that paper.
"""

from __future__ import annotations

import inspect
import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml
from tabulate import tabulate

from gcisg_core.lookup import choose
from gcisg_core.problems import DataError
from gcisg_suite.tasks import framework_of, read_config

ROOT = Path(__file__).resolve().parents[2]
HIDDEN_STEPS = ("Load", "Pack")  # steps of a pipeline without settings worth showing


@dataclass(frozen=True)
class Recipe:
    """A full-size recipe of the zoo.

    Attributes:
        name: ``<task>/<config>``.
        config: Path of the config, from the root of the repository.
        follows: The paper that it follows, "CSG" for example; empty for our own recipes.
        about: Note on that: what differs from the paper, or why the recipe is ours.
        like: Name of the recipe that it is a variant of, or empty.
        rows: Setting -> (value, origin).
    """

    name: str
    config: str
    follows: str
    about: str
    like: str
    rows: dict[str, tuple[str, str]]


def resolved(config: str) -> dict[str, Any]:
    """A config as a nested dictionary, with all settings of its method under ``method``.

    For detection, it includes the values that are at Detectron2's defaults.
    """
    kept = os.environ.copy()
    os.environ.pop("GCISG_DATA", None)  # otherwise the values would contain paths of this machine
    try:
        return _READERS[framework_of(config).name](read_config(ROOT / config))
    finally:
        os.environ.clear()
        os.environ.update(kept)  # reading a detection config sets GCISG_DATA


def _method(values: Mapping[str, Any]) -> dict[str, Any]:
    from gcisg_core.regularizers import read_method

    return {"method": values.get("method", "none"), **vars(read_method(values)[1])}


def _mmengine(config: Any) -> dict[str, Any]:
    from gcisg_core.views import PhotometricView

    found: dict[str, Any] = config.to_dict()
    found["method"] = _method(found["model"].pop("regularizer"))
    preprocessor = found["model"].get("data_preprocessor", {})
    if preprocessor.get("views"):
        parameters = inspect.signature(PhotometricView).parameters
        defaults = {name: parameters[name].default for name in ("brightness", "contrast", "saturation", "hue", "blur")}
        preprocessor["photometric"] = {**defaults, **preprocessor.get("photometric", {})}
    return found


def _detectron2(cfg: Any) -> dict[str, Any]:
    from gcisg_core.integrations.detectron2 import regularizer_values

    method = _method(regularizer_values(cfg))
    found: dict[str, Any] = yaml.safe_load(cfg.dump())
    del found["REGULARIZER"]
    return {**found, "method": method}


_READERS = {"mmengine": _mmengine, "detectron2": _detectron2}


def leaves(node: Any, path: str = "") -> Iterator[tuple[str, Any]]:
    """(path, value) of every value in nested dictionaries. Lists are values; empty values are skipped."""
    if isinstance(node, Mapping):
        for key, value in node.items():
            yield from leaves(value, f"{path}.{key}" if path else str(key))
    elif node is not None and node not in ([], (), ""):
        yield path, node


def look_up(node: Any, path: str) -> Any:
    """The value at a dotted path; None if it is missing or empty."""
    for key in path.split("."):
        node = node.get(key) if isinstance(node, Mapping) else None
    return None if node in ({}, [], (), "") else node


def render(value: Any) -> str:
    """A value in readable form: ``RandomFlip(prob=0.5)`` for a dictionary with a type, ``a=1, b=2`` for any other."""
    if isinstance(value, Mapping):
        inner = ", ".join(
            f"{key} ({render(item)})" if isinstance(item, Mapping) and "type" not in item else f"{key}={render(item)}"
            for key, item in value.items()
            if key != "type"
        )
        return inner if "type" not in value else f"{value['type']}({inner})" if inner else str(value["type"])
    if isinstance(value, Sequence) and not isinstance(value, str):
        if any(isinstance(item, Mapping) for item in value):
            return ", ".join(render(item) for item in value if not item["type"].startswith(HIDDEN_STEPS)) or "as loaded"
        return f"({', '.join(map(render, value))})"
    return str(value)


def rows(about: Mapping[str, Any], found: Mapping[str, Any]) -> dict[str, str]:
    """Setting -> value of a resolved config: the settings of `docs/recipes.yml`, then those of the method."""
    values = {}
    for setting, keys in about["settings"].items():
        present = {key: value for key in keys if (value := look_up(found, key)) is not None}
        alone = len(keys) == 1
        text = ", ".join(render(value) if alone else _named(key, value, keys) for key, value in present.items())
        if text := text or about.get("absent", {}).get(setting, ""):
            values[setting] = text
    hidden = {key.removeprefix("method.") for key in about["technical"] if key.startswith("method.")}
    fields = {key: value for key, value in found["method"].items() if key not in hidden and value is not None}
    return values | {f"`{key}`": render(value) for key, value in fields.items()}


def _named(key: str, value: Any, keys: Sequence[str]) -> str:
    """`momentum=0.9`, with the parent's name if two keys end in the same name; for a type, the value alone."""
    parent, _, last = key.rpartition(".")
    if last == "type":
        return render(value)
    twice = sum(other.endswith(f".{last}") for other in keys) > 1
    return f"{parent.rpartition('.')[2]}.{last}={render(value)}" if twice else f"{last}={render(value)}"


def uncovered(about: Mapping[str, Any], found: Mapping[str, Any]) -> list[str]:
    """The keys of a resolved config that no setting shows and that are not listed as technical."""
    known = [key for keys in about["settings"].values() for key in keys] + about["technical"] + ["method"]
    framework = {}
    if "SOLVER" in found:
        from detectron2.config import get_cfg

        framework = dict(leaves(yaml.safe_load(get_cfg().dump())))
    return [
        path
        for path, value in leaves(found)
        if not any(path == key or path.startswith(f"{key}.") for key in known) and framework.get(path) != value
    ]


def read(root: Path) -> dict[str, Recipe]:
    """All recipes by name, in the order of the zoo's rows.

    Args:
        root: The folder with `docs/recipes.yml` and `zoo/rows.yml`.

    Raises:
        DataError: a full-size row of the zoo has no entry, an entry has no row, a setting has no origin, an origin has
            no setting, or a recipe that is ours has a paper's figure.
    """
    path, zoo_path = root / "docs" / "recipes.yml", root / "zoo" / "rows.yml"
    content = yaml.safe_load(path.read_text(encoding="utf-8"))
    zoo_rows = yaml.safe_load(zoo_path.read_text(encoding="utf-8"))["tasks"]
    entries, recipes = dict(content["recipes"]), {}
    for task, row in ((task, row) for task, about in zoo_rows.items() for row in about["rows"]):
        name = f"{task}/{Path(row['config']).stem}"
        if name.endswith("_mini"):
            continue
        if name not in entries:
            raise DataError(path, f"{name} has no entry", "Add it: each full-size row of rows.yml has one")
        entry = entries.pop(name)
        if "paper" in row and not entry.get("follows"):
            what = f"{name} has a paper's figure, {row['paper']}, but recipes.yml calls the recipe ours"
            raise DataError(zoo_path, what, "Remove the figure: it belongs to another recipe")
        about, found = content["tasks"][task], resolved(row["config"])
        values, origins = rows(about, found), {**content["common"], **_origins(content["recipes"], name)}
        faults = {
            "has no origin": [f"{key} ({value})" for key, value in values.items() if key not in origins],
            "is not a setting of the config": [key for key in entry.get("origins", {}) if key not in values],
            "is in no setting and not listed as technical": uncovered(about, found),
        }
        for what, keys in faults.items():
            if keys:
                remedy = "Correct the entry: give each setting an origin, and list keys without effect as technical"
                raise DataError(path, f"{name}: {', '.join(keys)} {what}", remedy)
        table = {key: (value, origins[key]) for key, value in values.items()}
        whose, like = entry.get("follows", ""), entry.get("like", "")
        recipes[name] = Recipe(name, row["config"], whose, entry["about"], like, table)
    if entries:
        raise DataError(path, f"{', '.join(entries)}: no such row of rows.yml", "Remove the entry")
    return recipes


def _origins(entries: Mapping[str, Any], name: str) -> dict[str, str]:
    """Setting -> origin of a recipe, including those inherited from the recipe that it is a variant of."""
    entry = choose(entries, name, "recipe of docs/recipes.yml")
    inherited = _origins(entries, entry["like"]) if "like" in entry else {}
    return {**inherited, **entry.get("origins", {})}


def page(root: Path, recipes: Mapping[str, Recipe]) -> str:
    """The text of docs/recipes.md."""
    content = yaml.safe_load((root / "docs" / "recipes.yml").read_text(encoding="utf-8"))
    overview = [
        (f"[{_stem(recipe)}](#{_stem(recipe)})", name.partition("/")[0], recipe.follows or "ours", recipe.about)
        for name, recipe in recipes.items()
    ]
    parts = [content["introduction"], tabulate(overview, ("recipe", "task", "whose", "note"), tablefmt="github")]
    for task, about in content["tasks"].items():
        parts += [f"## {task.capitalize()}", about["remark"]]
        parts += [_section(recipe, recipes) for name, recipe in recipes.items() if name.startswith(f"{task}/")]
    return "\n\n".join(part.strip() for part in parts) + "\n"


def _stem(recipe: Recipe) -> str:
    return Path(recipe.config).stem


def _section(recipe: Recipe, recipes: Mapping[str, Recipe]) -> str:
    whose = f"{recipe.follows}'s recipe" if recipe.follows else "Ours"
    text = f"### {_stem(recipe)}\n\n[{Path(recipe.config).name}](../{recipe.config}). **{whose}.** {recipe.about}\n\n"
    shown = recipe.rows
    if recipe.like:
        base = recipes[recipe.like]
        shown = {key: row for key, row in shown.items() if base.rows.get(key) != row}
        without = [key for key in base.rows if key not in recipe.rows]
        text += f"As [{_stem(base)}](#{_stem(base)})" + (f", without {', '.join(without)}" if without else "")
        text += ", except:\n\n" if shown else ".\n\n"
    if not shown:
        return text
    return text + tabulate(
        [(key, *row) for key, row in shown.items()], ("setting", "value", "origin"), tablefmt="github"
    )
