"""The two OpenMMLab stacks: the official packages, and OneDL's continuation of them under the same import names.

MMSegmentation 1.2 imports all of mmcv's operators, compiled or not. Where the official mmcv is installed without
them (mmcv-lite, or a build with ``MMCV_WITH_OPS=0``), importing this module lets the import succeed: the operators
written in Python work, and a compiled one says what is missing when it is called. A complete mmcv is left alone, and
so is OneDL's, whose MMSegmentation does without.
"""

from __future__ import annotations

import sys
import types
from collections.abc import Callable, Sequence
from importlib.abc import Loader, MetaPathFinder
from importlib.machinery import ModuleSpec
from importlib.metadata import PackageNotFoundError, version
from typing import Any

# Import name -> its distributions on the index: the official ones, OneDL's.
DISTRIBUTIONS = {
    "mmengine": (("mmengine", "mmengine-lite"), ("onedl-mmengine",)),
    "mmcv": (("mmcv", "mmcv-lite"), ("onedl-mmcv",)),
    "mmseg": (("mmsegmentation",), ("onedl-mmsegmentation",)),
}
EXTENSION = "mmcv._ext"


def installed(names: Sequence[str]) -> dict[str, str]:
    """The versions of those distributions that are installed, by name."""
    found = {}
    for name in names:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            continue
    return found


def overwritten() -> dict[str, list[str]]:
    """Import name -> the distributions that both claim its files; the one installed last has overwritten the other."""
    claims = {module: [*installed(sum(stacks, ()))] for module, stacks in DISTRIBUTIONS.items()}
    return {module: names for module, names in claims.items() if len(names) > 1}


class MissingOperators(types.ModuleType):
    """Stands for `mmcv._ext`: it has every operator, and each says that it is missing when it is called."""

    def __getattr__(self, name: str) -> Callable[..., Any]:
        if name.startswith("__"):  # introspection, not an operator
            raise AttributeError(name)

        def missing(*_: Any, **__: Any) -> Any:
            raise ImportError(
                f"mmcv's compiled operator `{name}` is not installed, this mmcv was built without operators. Build "
                "mmcv from source by its install guide, or choose a model that does not need the operator"
            )

        return missing


class _Finder(MetaPathFinder, Loader):
    """Asked last, so an extension that exists is found before."""

    def find_spec(self, fullname: str, path: object = None, target: object = None) -> ModuleSpec | None:
        if fullname != EXTENSION or installed(DISTRIBUTIONS["mmcv"][1]):
            return None
        return ModuleSpec(fullname, self)

    def create_module(self, spec: ModuleSpec) -> types.ModuleType:
        return MissingOperators(spec.name)

    def exec_module(self, module: types.ModuleType) -> None:
        """There is nothing to run."""


sys.meta_path.append(_Finder())
