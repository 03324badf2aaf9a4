"""mmengine: config files. A config that the user names is run as code; that in a run's folder is read as data."""

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
from mmengine.logging import MMLogger
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
from gcisg_core.screen import keep_screen_brief

# Keys that the framework reads, whether or not the file has them.
RUNNER_KEYS = frozenset(inspect.signature(Runner.__init__).parameters) - {"self", "cfg"}
# Registered names, with or without a scope such as `mmseg.`. mmengine would import and call any other path.
REGISTERED = re.compile(r"(mm\w+\.)?\w+")
KNOWN = re.compile(r"(gcisg_\w+|mmengine|mmcv|mmseg|mmdet|mmpretrain)(\..*)?")
FLOATS = {"inf": float("inf"), "nan": float("nan")}  # in the form of `repr`
SPACE = "\0"  # replaces a space that must be kept
PATH_KEYS = ("checkpoint", "data_root", "load_from", "work_dir")  # their values are strings, even if unset
PLAIN = (
    "Restore the file that training wrote, or name the config that you trained with, whose code is run: "
    "gcisg select --config FILE"
)
TRUST = "Add --trust if this is your own"
if not installed(["mmsegmentation"]):
    # OneDL's has another distribution: configs that inherit `mmseg::...` find it by its import name.
    MODULE2PACKAGE["mmseg"] = "mmseg"


def load_config(path: str, overrides: Sequence[str]) -> Config:
    """Read a config and apply ``key=value`` overrides; ``custom_hooks.1.end=0.6`` sets a key of a list's second item.

    ``views=None`` is replaced by the number that the method needs, see
    :func:`gcisg_core.integrations.mmengine.views.derive_views`.

    Raises:
        FileNotFoundError: there is no such file.
        DataError: the config or a base cannot be executed; the message names file and line.
        ValueError: an override has no ``=``, its brackets do not match, or one of its keys is unknown (the message
            gives the nearest valid one); or the config states fewer ``views`` than the method needs.
    """
    return _settled(read_file(path), path, overrides)


def load_run_config(path: str, overrides: Sequence[str], trust: bool = False) -> Config:
    """:func:`load_config` for the config in the folder of a run, without running code in it.

    Args:
        path: The file.
        overrides: ``key=value`` each.
        trust: Import all modules that it lists; otherwise only those of the suite and its frameworks.

    Raises:
        DataError: training did not write it, or it lists a module that is not trusted.
        ValueError: as :func:`load_config`, or a class is given by an import path.
    """
    config = read_plain(path)
    check_types(config.to_dict(), str(path), PLAIN)
    import_listed(config, Path(path).parent, str(path), trust)
    return _settled(config, path, overrides)


def _settled(config: Config, path: str, overrides: Sequence[str]) -> Config:
    # yapf would format each of the config's four copies in log and run folder: seconds each if paths are long.
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
    """Read a config as mmengine does; custom modules are imported. Raises as :func:`load_config`."""
    if not Path(path).is_file():
        raise FileNotFoundError(f"config file {path} does not exist")
    keep_screen_brief(MMLogger.get_current_instance())
    try:
        config = Config.fromfile(path, import_custom_modules=False)
        if Config._is_lazy_import(str(path)):  # its classes become import paths, which registries accept as names
            config = Config(config.to_dict(), filename=str(path))
    except Exception as error:  # the file can raise any error
        raise DataError(_place(error, path), f"cannot be executed ({_what(error)})", "Correct it") from error
    keep_imports(config, path)
    import_custom(config, path)
    rename_model_keys(config.get("model"))
    return config


def import_custom(config: Config, path: str | Path) -> None:
    """Import the `custom_imports` of a config. Raises `DataError` if one cannot be imported."""
    try:
        import_modules_from_strings(**(config.get("custom_imports") or {"imports": []}))
    except (ImportError, TypeError) as error:
        cause = error.__cause__ or error.__context__ or error
        what = f"custom_imports {config['custom_imports']}: {reason(cause)}"
        remedy = how_to_install(cause) or "Install the module, or start in its folder with PYTHONPATH=."
        raise DataError(path, what, remedy) from error


def read_plain(path: str | Path) -> Config:
    """Read the config that training wrote to a run's folder, by its literals: no code is run.

    Raises:
        DataError: it holds more than literals, or does not parse.
    """
    line = 0
    try:
        values: dict[str, Any] = {}
        for node in ast.parse(Path(path).read_text(encoding="utf-8")).body:
            line = node.lineno
            if not isinstance(node, ast.Assign) or not isinstance(node.targets[0], ast.Name):
                raise ValueError("expected an assignment of a literal")
            values[node.targets[0].id] = _literal(node.value, {**values, **FLOATS})
    except Exception as error:
        place = f"{path}, line {getattr(error, 'lineno', None) or line}"
        raise DataError(place, f"is not a config that training wrote ({_what(error)})", PLAIN) from error
    config = Config(values, filename=str(path))
    rename_model_keys(config.get("model"))
    return config


def _literal(node: ast.expr, names: dict[str, Any]) -> Any:
    """Evaluate a literal, in which `dict(a=1)` may stand for `{"a": 1}` and a name for its assigned value."""
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
    """Refuse a config that gives classes by import paths, which mmengine would import and call.

    Raises:
        DataError: a type is not a registered name.
    """
    for name in _types(config):
        if not REGISTERED.fullmatch(name):
            raise DataError(where, f"has the type {name!r}, expected a registered name", remedy)


def import_listed(config: Config, folder: Path, where: str, trust: bool = False) -> None:
    """:func:`import_custom` for a config that is read as data.

    Args:
        config: It may list modules of the suite and of its frameworks.
        folder: The folder of the config; modules in it are refused, even if it is the working directory.
        where: The place named in the error.
        trust: Allow any module.

    Raises:
        DataError: another module is listed, or cannot be imported.
    """
    listed = config.get("custom_imports") or {}
    names = listed.get("imports") or [] if isinstance(listed, dict) else [listed]
    for name in [] if trust else [names] if isinstance(names, str) else names:
        if not KNOWN.fullmatch(str(name)):
            what = f"imports the module {name!r}, which belongs to neither the suite nor its frameworks"
            raise DataError(where, what, TRUST)
        top, *rest = str(name).split(".")
        spec = find_spec(top)  # only of the first part: this imports nothing
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
    """Parse the value of ``key=value`` by mmengine's rules."""
    parsed = Namespace()
    # mmengine drops all spaces, even those in the name of a file or class.
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
    """The file, possibly a base, and line that mmengine was reading when it failed."""
    file, lines = str(path), {}
    trace = error.__traceback__
    while trace is not None:
        code = trace.tb_frame.f_code
        if code.co_name == "_file2dict":
            found = str(trace.tb_frame.f_locals.get("filename", file))
            file = found if Path(found).is_file() else file  # a missing base is an error of the config that names it
        lines[code.co_filename] = trace.tb_lineno
        trace = trace.tb_next
    line = getattr(error, "lineno", None) or lines.get(file)
    return f"{file}, line {line}" if line else file


def _what(error: Exception) -> str:
    return f"{type(error).__name__}: {error.msg if isinstance(error, SyntaxError) else reason(error)}"
