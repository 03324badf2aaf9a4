"""mmengine: `custom_imports` and `custom_hooks` of bases that a config replaces.

mmengine merges dictionaries but replaces lists. The lines that add a method to an existing config set both lists.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

from mmengine.config import Config


def keep_imports(config: Config, path: str | Path) -> None:
    """Add the imports of a config's bases to its own; importing a module more has no effect."""
    own = config.get("custom_imports")
    if not isinstance(own, dict):
        return
    names = [name for file in (*_all_bases(path), Path(path)) for name in _imported(_assigned(file, "custom_imports"))]
    own["imports"] = list(dict.fromkeys([*names, *_imported(own)]))


def lost_hooks(config: Config, path: str | Path) -> list[str]:
    """Return a message for each base with `custom_hooks` that the config replaces and does not repeat."""
    kept = {_type_of(hook) for hook in config.get("custom_hooks") or []}
    lost = {base: sorted(types - kept) for base, types in _hooks_below(Path(path))}
    return [
        f"{path}: custom_hooks replaces that of {base}, so its {', '.join(types)} will not run: repeat it to keep it"
        for base, types in lost.items()
        if types
    ]


def _hooks_below(path: Path) -> Iterator[tuple[Path, set[str]]]:
    """The nearest bases with `custom_hooks` below the file that sets the config's, and the types of these hooks."""
    stated = _assigned(path, "custom_hooks") is not None
    for base in _bases(path):
        hooks = _assigned(base, "custom_hooks")
        if not stated or hooks is None:
            yield from _hooks_below(base)
        else:
            yield base, {_type_of(keyword) for keyword in getattr(hooks, "elts", [])} - {""}


def _bases(path: Path) -> Iterator[Path]:
    with suppress(Exception):  # mmengine has read them and reports errors
        for base in Config._get_base_files(str(path)):
            yield Path(Config._get_cfg_path(base, str(path))[0])


def _all_bases(path: str | Path) -> Iterator[Path]:
    for base in _bases(Path(path)):
        yield from (*_all_bases(base), base)


def _assigned(path: Path, name: str) -> ast.expr | None:
    """The expression that a config assigns to a name, if it is a Python file."""
    if path.suffix != ".py":
        return None
    for node in ast.parse(path.read_text(encoding="utf-8")).body:
        if isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Name) and node.targets[0].id == name:
            return node.value
    return None


def _imported(value: Any) -> list[str]:
    """The modules of `custom_imports`, given as an expression or a value."""
    names = _entry(value, "imports")
    if isinstance(names, ast.expr):
        with suppress(ValueError):  # computed: only mmengine's own import applies
            names = ast.literal_eval(names)
    return [names] if isinstance(names, str) else [*names] if isinstance(names, list | tuple) else []


def _type_of(hook: Any) -> str:
    name = _entry(hook, "type")
    return str(name.value if isinstance(name, ast.Constant) else name or "").rpartition(".")[2]


def _entry(value: Any, key: str) -> Any:
    """The entry of a dictionary, or of a dictionary expression in either form."""
    if isinstance(value, ast.Call):
        return next((word.value for word in value.keywords if word.arg == key), None)
    if isinstance(value, ast.Dict):
        pairs = zip(value.keys, value.values, strict=True)
        return next((inner for name, inner in pairs if isinstance(name, ast.Constant) and name.value == key), None)
    return value.get(key) if isinstance(value, dict) else None
