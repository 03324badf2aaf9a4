"""The two OpenMMLab stacks: the official packages, and OneDL's forks of them under the same import names.

MMSegmentation 1.2 and mmdetection import all of mmcv's operators, compiled or not; OneDL's MMSegmentation needs none
of them, not even those in Python. If mmcv is installed without its extension (OneDL's from the index, mmcv-lite, a
build with ``MMCV_WITH_OPS=0``), importing this module lets the import succeed. Operators in Python work, as do
deformable attention, the focal loss and PSANet's masks, on any device (:mod:`gcisg_core.integrations.mmcv_operators`);
a compiled operator raises an error about what is missing when it is called. A complete mmcv is not changed.
"""

from __future__ import annotations

import sys
import types
from collections.abc import Callable, Iterable
from importlib import import_module
from importlib.abc import Loader, MetaPathFinder
from importlib.machinery import ModuleSpec
from importlib.metadata import PackageNotFoundError, version
from importlib.util import find_spec
from typing import Any

from gcisg_core.problems import MissingPackageError
from gcisg_core.shell import pinned

# Import name -> its distributions on the index: the official ones, then OneDL's.
DISTRIBUTIONS = {
    "mmengine": (("mmengine", "mmengine-lite"), ("onedl-mmengine",)),
    "mmcv": (("mmcv", "mmcv-lite"), ("onedl-mmcv",)),
    "mmseg": (("mmsegmentation",), ("onedl-mmsegmentation",)),
    "mmdet": (("mmdet",), ("onedl-mmdetection",)),
    "mmpretrain": (("mmpretrain",), ("onedl-mmpretrain",)),
}
PARTS = {"mmdet": "mmdetection", "mmpretrain": "mmpretrain"}  # which some models of mmseg use
EXTENSION = "mmcv._ext"
IN_PYTORCH = {
    f"{name}_{way}" for name in ("ms_deform_attn", "psamask", "sigmoid_focal_loss") for way in ("forward", "backward")
}


def distributions(module: str) -> tuple[str, ...]:
    """The distributions of both stacks on the index that are imported as `module`."""
    return sum(DISTRIBUTIONS[module], ())


def installed(names: Iterable[str]) -> dict[str, str]:
    """The versions of those distributions that are installed, by name."""
    found = {}
    for name in names:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            continue
    return found


def stacks() -> tuple[dict[str, str], dict[str, str]]:
    """The installed distributions of the official stack and of OneDL's, with versions."""
    official, onedl = zip(*DISTRIBUTIONS.values(), strict=True)
    return installed(sum(official, ())), installed(sum(onedl, ()))


def requirements(module: str) -> str:
    """The arguments of `pip install` for a module, in the installed stack; OneDL's if there is none.

    mmseg 1.2, mmdet 3 and mmpretrain 1 refuse mmcv 2.2, so for the official stack mmcv is included, by its installed
    distribution.
    """
    official, onedl = stacks()
    if onedl or not official:
        if module in PARTS:
            return f"--no-deps {pinned(module)}"
        return pinned("frameworks", "classification" if module == "mmengine" else "segmentation")  # OneDL's
    mmcv = next((name for name in DISTRIBUTIONS["mmcv"][0] if name in official), "mmcv-lite")
    needed = {"mmengine": "'mmengine>=0.10'", "mmcv": f"'{mmcv}>=2.0,<2.2'"}
    both = {"mmseg": "mmsegmentation>=1.2", "mmdet": "mmdet>=3.1", "mmpretrain": "mmpretrain>=1.2"}
    return needed.get(module) or f"'{both[module]}' {needed['mmcv']}"


def require_parts(model: object) -> None:
    """Import mmdetection or mmpretrain if a model's settings use parts of them (`mmdet.*`, `mmpretrain.*`).

    Raises:
        MissingPackageError: it is not installed.
    """
    text = str(model)
    for module, name in PARTS.items():
        if f"'{module}." in text and find_spec(module) is None:
            raise MissingPackageError(
                f"the model has parts of {name} (`{module}.*`), which is not installed: pip install "
                f"{requirements(module)} (docs/install.md)"
            )


def how_to_install(error: BaseException | None) -> str:
    """The install command for the OpenMMLab package that an import error reports; empty for other errors."""
    module = (getattr(error, "name", None) or "").partition(".")[0]
    return f"pip install {requirements(module)} (docs/install.md)" if module in DISTRIBUTIONS else ""


class MissingOperators(types.ModuleType):
    """Stands for `mmcv._ext`: each operator is ours in PyTorch, or raises an error when it is called."""

    def __getattr__(self, name: str) -> Callable[..., Any]:
        if name.startswith("__"):  # introspection, not an operator
            raise AttributeError(name)
        if name in IN_PYTORCH:
            operator: Callable[..., Any] = getattr(import_module("gcisg_core.integrations.mmcv_operators"), name)
            return operator

        def missing(*_: Any, **__: Any) -> Any:
            raise MissingPackageError(
                f"mmcv's compiled operator `{name}` is not installed, this mmcv was built without operators. Build "
                "mmcv from source by its install guide, or choose a model that does not need the operator"
            )

        return missing


class _Finder(MetaPathFinder, Loader):
    """Consulted last, so that an existing extension is found first."""

    def find_spec(self, fullname: str, path: object = None, target: object = None) -> ModuleSpec | None:
        return ModuleSpec(fullname, self) if fullname == EXTENSION else None

    def create_module(self, spec: ModuleSpec) -> types.ModuleType:
        return MissingOperators(spec.name)

    def exec_module(self, module: types.ModuleType) -> None:
        """There is nothing to execute."""


sys.meta_path.append(_Finder())
