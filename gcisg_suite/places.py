"""Where configs, zoo and data are, in a checkout or in the installed package."""

from __future__ import annotations

import difflib
import importlib.util
import os
import re
from pathlib import Path

SIMILAR = 1.4  # a config is suggested if the similarities of its path and of the words of its name sum to more


def project_folder(module: str, task: str) -> Path:
    """The folder of a task's configs: above its package in a checkout, `gcisg_configs` in an installed wheel.

    Args:
        module: `__file__` of a module of the task's package.
        task: The task's name, which is also the folder's.
    """
    above = Path(module).resolve().parent.parent
    return above if above.name == task else above / "gcisg_configs" / task


def _installed(*parts: str) -> Path | None:
    """The place of `gcisg_configs/...` in the installed package, if it exists."""
    spec = importlib.util.find_spec("gcisg_configs")
    places = (Path(folder, *parts) for folder in (spec.submodule_search_locations or () if spec else ()))
    return next((place for place in places if place.exists()), None)


def find_config(name: str) -> str:
    """A config file. `projects/...` is found from any folder: in the checkout, or in the installed package."""
    parts = Path(name).parts
    if not Path(name).exists() and parts[:1] == ("projects",):
        own = Path(__file__).resolve().parents[1] / name
        return str(own if own.exists() else _installed(*parts[1:]) or name)
    return name


def did_you_mean(name: str) -> str:
    """The end of an error message about a missing config: the existing config with the most similar name, if any.

    Configs of the projects and those in the folder of `name` are compared. Empty if the file exists.
    """
    if Path(name).is_file():
        return ""
    projects = Path(__file__).resolve().parents[1] / "projects"
    home = projects if projects.is_dir() else _installed() or projects
    known = {f"projects/{path.parent.name}/{path.name}": path.name for path in home.glob("*/*.*")}
    known |= {str(path): path.name for path in Path(name).parent.glob("*.*")}
    configs = [path for path, file in known.items() if file.endswith((".py", ".yaml")) and not file.startswith("_")]

    def likeness(first: str, second: str) -> float:
        return difflib.SequenceMatcher(None, first, second).ratio()

    def similarity(path: str) -> float:
        words, asked = (re.split(r"[_.]", file) for file in (known[path], Path(name).name))
        found = [max(1.0 if word.startswith(part) else likeness(word, part) for word in words) for part in asked]
        return likeness(path, name) + sum(found) / len(found)  # each 0 to 1

    nearest = max(configs, key=similarity, default="")
    return f". Did you mean {nearest}?" if nearest and similarity(nearest) > SIMILAR else ""


def zoo_folder() -> Path:
    """The folder of the metafile and the checkpoints."""
    folder = Path(__file__).resolve().parents[1] / "zoo"
    return folder if folder.is_dir() else _installed("zoo") or folder


def benchmark(name: str) -> Path:
    """A script of `benchmarks`, which exists only in a checkout."""
    return Path(__file__).resolve().parents[1] / "benchmarks" / f"{name}.py"


def data_root() -> Path:
    """The folder of all data sets: ``$GCISG_DATA``, by default ``data``."""
    return Path(os.environ.get("GCISG_DATA") or "data")


def mini_root() -> Path:
    """The folder of the miniature benchmark."""
    return data_root() / "mini"
