"""Imports run down and in no circle: core <- what is neutral in the suite <- projects, commands. Read from the source.

Imports in functions and under TYPE_CHECKING count like any other: the arrows are those of a reader.
"""

import ast
import re
from pathlib import Path

import pytest

from gcisg_suite.tasks import TASKS

ROOT = Path(__file__).parents[1]
PROJECTS = {task.package: f"projects/{task.name}/{task.package}" for task in TASKS.values()}
PACKAGES = {"gcisg_core": "gcisg_core", "gcisg_suite": "gcisg_suite", **PROJECTS}
# What a project may use of the suite; nothing in it knows the rest of the suite.
NEUTRAL = ("about", "aliases", "analysis", "audit", "classes", "coco", "folders", "formats", "images", "miniature",
           "new_project", "places", "progress", "report", "rows", "schedule", "selection", "tasks", "text")  # fmt: skip
TABLE = "gcisg_suite.tasks"


def sources():
    """Module -> its text, packages with a last part `__init__`."""
    return {
        ".".join((name, *path.relative_to(ROOT / folder).with_suffix("").parts)): path.read_text()
        for name, folder in PACKAGES.items()
        for path in (ROOT / folder).rglob("*.py")
        if "old_names" not in path.parts
    }


def arrows(modules):
    """Module -> the modules of ours that its text imports."""
    known = {name.removesuffix(".__init__") for name in modules}
    return {
        name.removesuffix(".__init__"): {
            target for target in _targets(name, text, known) if target != name.removesuffix(".__init__")
        }
        for name, text in modules.items()
    }


def _targets(name, text, known):
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names if alias.name in known)
        elif isinstance(node, ast.ImportFrom):
            above = name.split(".")[: -node.level] if node.level else []
            base = ".".join([*above, *([node.module] if node.module else [])])
            for alias in node.names:
                inner = f"{base}.{alias.name}"
                yield from (target for target in [inner if inner in known else base] if target in known)


def layer(name):
    """The higher imports the lower; of one number, only the same package imports itself."""
    package, *rest = name.split(".")
    if package == "gcisg_core":
        return 1 if rest[:1] == ["integrations"] else 0
    if package == "gcisg_suite":
        return 2 if not rest or rest[0] in NEUTRAL else 3
    return 3


def faults(modules):
    """What is wrong, a line each."""
    graph = arrows(modules)
    found = [
        f"{name} -> {target}"
        for name, targets in graph.items()
        for target in targets
        if layer(target) > layer(name)
        or (layer(target) == layer(name) == 3 and target.split(".")[0] != name.split(".")[0])
    ]
    return sorted(found) + [" -> ".join(circle) for circle in circles(graph)]


def circles(graph):
    """Each set of modules that reach each other, as the way round from one of them."""
    seen = {}

    def visit(name, way):
        if name in way:
            yield way[way.index(name) :]
        elif name not in seen:
            for target in sorted(graph[name]):
                yield from visit(target, [*way, name])
            seen[name] = True

    found = [circle for name in sorted(graph) for circle in visit(name, [])]
    return [[*circle[(first := circle.index(min(circle))) :], *circle[: first + 1]] for circle in found]


def test_imports_run_down_and_in_no_circle():
    modules = sources()
    assert len(modules) > 150
    assert faults(modules) == []


def test_the_suite_names_projects_in_its_table_alone():
    for name, text in sources().items():
        if name.startswith("gcisg_suite") and name != TABLE:
            for node in ast.walk(ast.parse(text)):
                named = isinstance(node, ast.Constant) and isinstance(node.value, str)
                assert not (named and re.fullmatch(rf"({'|'.join(PROJECTS)})([.:]\S*)?", node.value)), name


@pytest.mark.parametrize(
    ("module", "line", "fault"),
    [
        ("gcisg_core.losses", "import gcisg_suite.tasks", "gcisg_core.losses -> gcisg_suite.tasks"),
        ("gcisg_core.losses", "def f():\n    from .integrations import timm", "losses -> gcisg_core.integrations.timm"),
        (
            "gcisg_seg.analysis",
            "from gcisg_cls.model_metrics import evaluate",
            "gcisg_seg.analysis -> gcisg_cls.model_metrics",
        ),
        ("gcisg_det.config", "def f():\n    import gcisg_suite.cli", "gcisg_det.config -> gcisg_suite.cli"),
        ("gcisg_suite.export", "def f():\n    from gcisg_det import export", "suite.export -> gcisg_det.export"),
        (
            "gcisg_suite.report.page",
            "from gcisg_suite.sweep import variants",
            "report.page -> gcisg_suite.sweep.variants",
        ),
        (
            "gcisg_suite.places",
            "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    from .tasks import Task",
            "gcisg_suite.places -> gcisg_suite.tasks -> gcisg_suite.rows -> gcisg_suite.places",
        ),
    ],
)
def test_a_planted_fault_is_found(module, line, fault):
    modules = sources()
    modules[module] += f"\n{line}\n"
    assert any(fault in found for found in faults(modules)), faults(modules)
