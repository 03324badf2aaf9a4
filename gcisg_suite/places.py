"""Where configs, zoo and data are, in a checkout or in the installed package."""

from __future__ import annotations

import difflib
import glob
import importlib.util
import os
import re
from pathlib import Path

SIMILAR = 1.4  # a config is suggested if the similarities of its path and of the words of its name sum to more
SAME_FOLDER = 0.85  # and if its folder is at least this similar to the one that was named


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
    """The end of an error message about a missing config: the existing config that may be meant, if any.

    It is the one with the most similar name in the same folder, or in a folder of nearly that name; or else a config of
    exactly that name in a folder of the projects, or beside the folder of `name`. Empty if the file exists.
    """
    asked = Path(name)
    if asked.is_file():
        return ""
    projects = Path(__file__).resolve().parents[1] / "projects"
    home = projects if projects.is_dir() else _installed() or projects
    found = [Path("projects", path.parent.name, path.name) for path in home.glob("*/*.*")]
    found += [*asked.parent.glob("*.*"), *asked.parent.parent.glob(f"*/{glob.escape(asked.name)}")]
    configs = [path for path in found if path.suffix in (".py", ".yaml") and not path.name.startswith("_")]

    def likeness(first: object, second: object) -> float:
        return difflib.SequenceMatcher(None, str(first), str(second)).ratio()

    def similarity(path: Path) -> float:
        words, parts = (re.split(r"[_.]", file.name) for file in (path, asked))
        shares = [max(1.0 if word.startswith(part) else likeness(word, part) for word in words) for part in parts]
        return likeness(path, asked) + sum(shares) / len(shares)  # each 0 to 1

    here = [path for path in configs if likeness(path.parent, asked.parent) > SAME_FOLDER]
    near = [path for path in here if similarity(path) > SIMILAR]
    near = near or [path for path in configs if path.name == asked.name]
    return f". Did you mean {max(near, key=similarity)}?" if near else ""


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
