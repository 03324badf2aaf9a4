"""The core must not learn of a framework: only its integrations may."""

import ast
import sys
from pathlib import Path

CORE = Path(__file__).parents[2] / "gcisg_core"
FILES = [path for path in CORE.rglob("*.py") if "integrations" not in path.parts]
ALLOWED = {"torch", "torchvision", "gcisg_core", *sys.stdlib_module_names}


def imported_modules(source: str) -> set[str]:
    names = set()
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            names.add(node.module)
    return names


def test_the_core_imports_only_torch_and_torchvision():
    packages = {name.partition(".")[0] for path in FILES for name in imported_modules(path.read_text())}
    assert packages <= ALLOWED
    assert {"torch", "torchvision"} <= packages


def test_the_check_sees_imports_inside_functions():
    assert imported_modules("def f():\n    from mmengine.hooks import Hook") == {"mmengine.hooks"}


def test_the_core_does_not_import_its_integrations():
    for path in FILES:
        assert not any(name.startswith("gcisg_core.integrations") for name in imported_modules(path.read_text())), path
