"""Import names of earlier versions, which a stored config's `custom_imports` may hold."""

from __future__ import annotations

import sys
import warnings
from collections.abc import Mapping
from importlib import import_module
from importlib.abc import Loader, MetaPathFinder
from importlib.machinery import ModuleSpec
from types import ModuleType
from typing import Any


class _Renamed(MetaPathFinder, Loader):
    """Imports the module of today under its earlier name; both are one module."""

    def __init__(self, names: Mapping[str, str]) -> None:
        self.names = names

    def find_spec(self, name: str, *_: Any) -> ModuleSpec | None:
        return ModuleSpec(name, self) if name in self.names else None

    def exec_module(self, module: ModuleType) -> None:
        sys.modules[module.__name__] = import_module(self.names[module.__name__])


def renamed(package: str, names: Mapping[str, str]) -> None:
    """Say once that a package has moved, and import its modules from where they are.

    Args:
        package: Its name before.
        names: Module of it -> that module's full name today.
    """
    warnings.warn(f"the package {package} is part of gcisg_suite now", FutureWarning, stacklevel=3)
    sys.meta_path.insert(0, _Renamed({f"{package}.{old}": new for old, new in names.items()}))
