"""What is installed for each task, what is missing or does not fit, and the command that fixes it."""

from __future__ import annotations

import contextlib
import importlib
import sys
from collections.abc import Callable, Iterator
from importlib import metadata
from typing import NamedTuple

from gcisg_core.integrations import openmmlab
from gcisg_core.shell import pinned
from gcisg_suite.doctor_memory import fingerprint, keep, recall
from gcisg_suite.progress import progress
from gcisg_suite.rows import Package, TaskSpec
from gcisg_suite.tasks import TASKS

INSTALL = f"{sys.executable} -m pip install"


class Check(NamedTuple):
    """One line of the table; ``fix`` is empty if nothing is wrong."""

    task: str
    what: str
    found: str
    fix: str


def version_at_least(found: str, least: str) -> bool:
    numbers = [tuple(int(part) for part in text.split("+")[0].split(".")[:2]) for text in (found, least)]
    return numbers[0] >= numbers[1]


def package(task: str, needed: Package) -> Check:
    """Import a package and compare its version."""
    fix = needed.fix.replace("{pip}", INSTALL).replace("{python}", sys.executable)
    if needed.module in openmmlab.DISTRIBUTIONS:
        fix = f"{INSTALL} {openmmlab.requirements(needed.module)}"
    try:
        importlib.import_module(needed.module)
    except Exception as error:
        return Check(task, needed.module, f"{type(error).__name__}: {error}".splitlines()[0][:60], fix)
    for distribution in needed.distributions:
        try:
            found = metadata.version(distribution)
        except metadata.PackageNotFoundError:
            continue
        return Check(task, needed.module, found, "" if version_at_least(found, needed.least) else fix)
    return Check(task, needed.module, "installed", "")


def of_task(task: TaskSpec) -> Iterator[Check]:
    """The packages that a task's row lists."""
    with contextlib.suppress(Exception):  # the package's own line will report it
        importlib.import_module(task.package)  # adds what old versions of a framework lack
    return (package(task.name, needed) for needed in task.packages)


def python_version() -> Check:
    found = ".".join(map(str, sys.version_info[:3]))
    return Check("all", "Python", found, "" if sys.version_info >= (3, 10) else "install Python 3.10 or later")


def torchvision_operators() -> Check:
    """Torchvision's compiled operators load only with the torch that they were built for."""
    fix = f"{INSTALL} {pinned('torch')}"
    try:
        import torch
        from torchvision.ops import nms

        nms(torch.zeros(1, 4), torch.zeros(1), 0.5)
    except Exception as error:
        return Check("all", "torchvision's operators", f"{type(error).__name__}: {error}".splitlines()[0][:60], fix)
    return Check("all", "torchvision's operators", "fit torch", "")


def device() -> Check:
    import torch

    name = torch.cuda.get_device_name() if torch.cuda.is_available() else "none: training runs on the CPU"
    return Check("all", "GPU", name, "")


def openmmlab_stack() -> Check:
    """The official packages and OneDL's have the same import names, so the one installed last overwrote the other."""
    official, onedl = openmmlab.stacks()
    held = [("official", official), ("OneDL's", onedl)]
    found = "; ".join(f"{name} ({', '.join(map(' '.join, it.items()))})" for name, it in held if it)
    names = " ".join([*official, *onedl])
    fix = f"{sys.executable} -m pip uninstall {names}, then install one stack, see docs/install.md"
    return Check("all", "OpenMMLab stack", found or "none", fix if official and onedl else "")


TORCH = f"{{pip}} {pinned('torch')}"
GENERAL: tuple[Callable[[], Check], ...] = (
    python_version,
    lambda: package("all", Package("torch", TORCH, ("torch",), "2.4")),
    lambda: package("all", Package("torchvision", TORCH, ("torchvision",), "0.19")),
    torchvision_operators,
    device,
    openmmlab_stack,
    lambda: package("all", Package("gcisg_core", "{pip} -e .", ("gcisg",))),
)


def examine(again: bool = False) -> int:
    """Print the table; returns the number of lines to fix.

    If nothing was wrong, the table is cached and printed again until something that it depends on changes.

    Args:
        again: Ignore the cache.
    """
    modules = {needed.module for task in TASKS.values() for needed in task.packages}
    state = fingerprint(modules | {"torch", "torchvision", "gcisg_core", *openmmlab.DISTRIBUTIONS})
    kept = None if again else recall(state)
    results = _look() if kept is None else [Check(*row) for row in kept]
    width = [max(len(row[column]) for row in results) for column in range(3)]
    for task, what, found, fix in results:
        status = "ok  " if not fix else "FIX "
        print(f"{status}  {task:{width[0]}}  {what:{width[1]}}  {found:{width[2]}}  {fix}".rstrip())
    wrong = sum(bool(row.fix) for row in results)
    if kept is None and not wrong:
        keep(state, results)
    print(f"\n{wrong} to fix; the last column says how." if wrong else "\nEverything is in place.")
    return wrong


def _look() -> list[Check]:
    results = []
    for check in progress(GENERAL, "checking", "check"):
        try:
            results.append(check())
        except ImportError as error:  # of what an earlier line reports
            results.append(Check("all", getattr(check, "__name__", "check"), str(error)[:60], "fix the lines above"))
    return results + [line for task in progress(TASKS.values(), "importing", "task") for line in of_task(task)]
