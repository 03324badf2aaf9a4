"""mmengine: config files. Those that somebody names are run as code; that of a run's folder is read as data."""

from __future__ import annotations

import ast
import inspect
import re
from argparse import ArgumentParser, Namespace
from collections.abc import Iterator, Sequence
from functools import partial
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from mmengine.config import Config, DictAction
from mmengine.config.utils import MODULE2PACKAGE
from mmengine.runner import Runner
from mmengine.utils import import_modules_from_strings

from gcisg_core.files import exists
from gcisg_core.integrations.mmengine.bases import keep_imports
from gcisg_core.integrations.mmengine.views import derive_views
from gcisg_core.integrations.openmmlab import how_to_install, installed
from gcisg_core.lookup import unknown_name
from gcisg_core.old_names import current_key, rename_model_keys
from gcisg_core.problems import DataError, reason
from gcisg_core.ranges import check_ranges
from gcisg_core.regularizers import read_method

# What the framework reads of a config, whether or not the file has it.
RUNNER_KEYS = frozenset(inspect.signature(Runner.__init__).parameters) - {"self", "cfg"}
# Registered names, `mmseg.` and the like before them or not. mmengine would import any other path, and call it.
REGISTERED = re.compile(r"(mm\w+\.)?\w+")
KNOWN = re.compile(r"(gcisg_\w+|mmengine|mmcv|mmseg|mmdet|mmpretrain)(\..*)?")
FLOATS = {"inf": float("inf"), "nan": float("nan")}  # as `repr` writes them
SPACE = "\0"  # stands for a space that is kept
PATH_KEYS = ("checkpoint", "data_root", "load_from", "work_dir")  # their values are strings, also where unset
PLAIN = (
    "Restore what training wrote, or name the config that you trained with, which is run: gcisg select --config FILE"
)
TRUST = "Add --trust if this is your own"
if not installed(["mmsegmentation"]):
    # OneDL's has another distribution: configs that inherit `mmseg::...` find it by its import name.
    MODULE2PACKAGE["mmseg"] = "mmseg"


def load_config(path: str, overrides: Sequence[str]) -> Config:
    """Read a config and apply ``key=value`` overrides; ``custom_hooks.1.end=0.6`` is of the second of a list.

    Where the config leaves ``views`` open, it becomes the number that the method needs, see
    :func:`gcisg_core.integrations.mmengine.views.derive_views`.

    Raises:
        FileNotFoundError: there is no such file.
        DataError: it, or one of its bases, does not run; names file and line.
        ValueError: an override has no ``=``, its brackets do not match, or one of the keys on its way is unknown; the
            nearest valid one is given. Or the config states fewer ``views`` than the method needs.
    """
    return _settled(read_file(path), path, overrides)


def load_run_config(path: str, overrides: Sequence[str], trust: bool = False) -> Config:
    """:func:`load_config` for the config in the folder of a run, of which nothing is run.

    Args:
        path: The file.
        overrides: ``key=value`` each.
        trust: Import whatever modules it lists; else those of the suite and of its frameworks alone.

    Raises:
        DataError: it is not a config that training wrote, or lists a module that is not trusted.
        ValueError: as :func:`load_config`, or a class is named by an import path.
    """
    config = read_plain(path)
    check_types(config.to_dict(), str(path), PLAIN)
    import_listed(config, Path(path).parent, str(path), trust)
    return _settled(config, path, overrides)


def _settled(config: Config, path: str, overrides: Sequence[str]) -> Config:
    # yapf lays a config out anew for each of its four copies in log and run folder: seconds each where paths are long.
    object.__setattr__(config, "_format_python_code", False)  # the option of `fromfile` has no effect
    apply_overrides(config, overrides)
    if not isinstance(config.get("model") or {}, dict):
        raise ValueError(f"{path}: model is {config.model!r}, expected a dictionary of its settings")
    try:
        read_method((config.get("model") or {}).get("regularizer"))
    except ValueError as error:
        raise ValueError(f"{path}: model.regularizer: {error}") from error
    check_ranges(path, config.to_dict())
    derive_views(config)
    return config


def read_file(path: str | Path) -> Config:
    """A config as mmengine reads it; custom modules are imported. Raises as :func:`load_config`."""
    if not Path(path).is_file():
        raise FileNotFoundError(f"config file {path} does not exist")
    try:
        config = Config.fromfile(path, import_custom_modules=False)
        if Config._is_lazy_import(str(path)):  # its classes become their import paths, which registries take as names
            config = Config(config.to_dict(), filename=str(path))
    except Exception as error:  # the file is a program
        raise DataError(_place(error, path), f"cannot be executed ({_what(error)})", "Correct it") from error
    keep_imports(config, path)
    import_custom(config, path)
    rename_model_keys(config.get("model"))
    return config


def import_custom(config: Config, path: str | Path) -> None:
    """Import the `custom_imports` of a config. Raises `DataError` where one cannot be."""
    try:
        import_modules_from_strings(**(config.get("custom_imports") or {"imports": []}))
    except (ImportError, TypeError) as error:
        cause = error.__cause__ or error.__context__ or error
        what = f"custom_imports {config['custom_imports']}: {reason(cause)}"
        remedy = how_to_install(cause) or "Install the module, or start in its folder with PYTHONPATH=."
        raise DataError(path, what, remedy) from error


def read_plain(path: str | Path) -> Config:
    """The config that training wrote into the folder of a run, by its literals: nothing of it is run.

    Raises:
        DataError: it holds more than literals, or does not parse.
    """
    line = 0
    try:
        values: dict[str, Any] = {}
        for node in ast.parse(Path(path).read_text(encoding="utf-8")).body:
            line = node.lineno
            if not isinstance(node, ast.Assign) or not isinstance(node.targets[0], ast.Name):
                raise ValueError("an assignment of a literal was expected")
            values[node.targets[0].id] = _literal(node.value, {**values, **FLOATS})
    except Exception as error:
        place = f"{path}, line {getattr(error, 'lineno', None) or line}"
        raise DataError(place, f"is not a config that training wrote ({_what(error)})", PLAIN) from error
    config = Config(values, filename=str(path))
    rename_model_keys(config.get("model"))
    return config


def _literal(node: ast.expr, names: dict[str, Any]) -> Any:
    """A literal, in which `dict(a=1)` may stand for `{"a": 1}`, and a name for what was assigned to it before."""
    inner = partial(_literal, names=names)
    if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "dict":
        merged = dict(*map(inner, node.args))
        return {**merged, **{word.arg: inner(word.value) for word in node.keywords if word.arg}}
    if isinstance(node, ast.Dict):
        return {inner(key): inner(value) for key, value in zip(node.keys, node.values, strict=True) if key}
    if isinstance(node, ast.List | ast.Tuple | ast.Set):
        kinds = {ast.List: list, ast.Tuple: tuple, ast.Set: set}
        return kinds[type(node)](map(inner, node.elts))
    if isinstance(node, ast.Name) and node.id in names:
        return names[node.id]
    try:
        return ast.literal_eval(node)
    except ValueError as error:
        raise ValueError(f"{ast.unparse(node)} is code, expected numbers, texts, lists and dictionaries") from error


def check_types(config: Any, where: str, remedy: str) -> None:
    """Refuse a config that names classes by import paths, which mmengine would import and call.

    Raises:
        DataError: one is no registered name.
    """
    for name in _types(config):
        if not REGISTERED.fullmatch(name):
            raise DataError(where, f"has the type {name!r}, expected a registered name", remedy)


def import_listed(config: Config, folder: Path, where: str, trust: bool = False) -> None:
    """:func:`import_custom` for a config that is data.

    Args:
        config: It may list modules of the suite and of its frameworks.
        folder: Where it was found; a module must not lie there, as where one starts in it.
        where: What the error names.
        trust: Any module may be listed.

    Raises:
        DataError: another module is listed, or cannot be imported.
    """
    listed = config.get("custom_imports") or {}
    names = listed.get("imports") or [] if isinstance(listed, dict) else [listed]
    for name in [] if trust else [names] if isinstance(names, str) else names:
        if not KNOWN.fullmatch(str(name)):
            what = f"imports the module {name!r}, which is of neither the suite nor its frameworks"
            raise DataError(where, what, TRUST)
        top, *rest = str(name).split(".")
        spec = find_spec(top)  # of the first part alone: that imports nothing
        places = [Path(place, *rest) for place in spec.submodule_search_locations or []] if spec else []
        places += [Path(spec.origin)] if spec and spec.origin else []
        if any(place.resolve().is_relative_to(folder.resolve()) for place in places):
            raise DataError(where, f"imports the module {name!r}, which lies in the folder {folder}", TRUST)
    import_custom(config, where)


def _types(value: Any) -> Iterator[str]:
    if isinstance(value, dict):
        if "type" in value:
            yield str(value["type"])
        for inner in value.values():
            yield from _types(inner)
    elif isinstance(value, list | tuple):
        for inner in value:
            yield from _types(inner)


def apply_overrides(config: Config, overrides: Sequence[str]) -> None:
    """Apply ``key=value`` overrides. Raises as :func:`load_config`.

    A comma makes a list, unless the key holds a string or a path, or a file of that name exists.
    """
    given = {}
    for override in overrides:
        key, equals, text = override.partition("=")
        if not equals:
            raise ValueError(f"override {override!r} must have the form key=value")
        key = current_key(key)
        parent = config
        *parents, last = key.split(".")
        for part in parents:
            if isinstance(parent, list):
                parent = {str(index): item for index, item in enumerate(parent)}
            if part not in parent:
                raise unknown_name(part, parent, f"config key (of {key!r})")
            parent = parent[part]
        if not parents and last not in config and last not in RUNNER_KEYS:
            raise unknown_name(last, config, "config key")
        now = parent.get(last) if isinstance(parent, dict) else None
        is_string = isinstance(now, str) or last in PATH_KEYS or exists(Path(text))
        given[key] = text if "," in text and text[0] not in "[(" and is_string else _parsed(override)
    config.merge_from_dict(given)


def _parsed(override: str) -> Any:
    """The value of a ``key=value``, by mmengine's rules."""
    parsed = Namespace()
    # mmengine drops all spaces, those within the name of a file or of a class among them.
    kept = re.sub(r"(?<=[^\s,(\[=]) +(?=[^\s,)\]])", lambda found: SPACE * len(found[0]), override)
    try:
        DictAction(["--overrides"], "overrides")(ArgumentParser(), parsed, [kept])
    except (AssertionError, RecursionError) as error:
        raise ValueError(f"override {override!r}: the brackets of its value do not match") from error
    return _with_spaces(*parsed.overrides.values())


def _with_spaces(value: Any) -> Any:
    if isinstance(value, list | tuple):
        return type(value)(map(_with_spaces, value))
    return value.replace(SPACE, " ") if isinstance(value, str) else value


def _place(error: BaseException, path: str | Path) -> str:
    """The file that was read when mmengine failed, which may be a base, and its line."""
    file, lines = str(path), {}
    trace = error.__traceback__
    while trace is not None:
        code = trace.tb_frame.f_code
        if code.co_name == "_file2dict":
            found = str(trace.tb_frame.f_locals.get("filename", file))
            file = found if Path(found).is_file() else file  # a base that is not there is its heir's fault
        lines[code.co_filename] = trace.tb_lineno
        trace = trace.tb_next
    line = getattr(error, "lineno", None) or lines.get(file)
    return f"{file}, line {line}" if line else file


def _what(error: Exception) -> str:
    return f"{type(error).__name__}: {error.msg if isinstance(error, SyntaxError) else reason(error)}"
