"""What is installed for each task, what is missing or does not fit, and the command that mends it."""

from __future__ import annotations

import contextlib
import importlib
import sys
from collections.abc import Callable
from importlib import metadata
from typing import NamedTuple

from gcisg_suite.tasks import TASKS

INSTALL = f"{sys.executable} -m pip install"


class Check(NamedTuple):
    """One line of the table; ``mend`` is empty where all is well."""

    task: str
    what: str
    found: str
    mend: str


def version_at_least(found: str, least: str) -> bool:
    numbers = [tuple(int(part) for part in text.split("+")[0].split(".")[:2]) for text in (found, least)]
    return numbers[0] >= numbers[1]


def package(task: str, module: str, distributions: tuple[str, ...], mend: str, least: str = "0.0") -> Check:
    """Import a module and compare its version; the first distribution that is installed counts."""
    try:
        importlib.import_module(module)
    except Exception as error:
        return Check(task, module, f"{type(error).__name__}: {error}".splitlines()[0][:60], mend)
    for distribution in distributions:
        try:
            found = metadata.version(distribution)
        except metadata.PackageNotFoundError:
            continue
        return Check(task, module, found, "" if version_at_least(found, least) else mend)
    return Check(task, module, "installed", "")


def python_version() -> Check:
    found = ".".join(map(str, sys.version_info[:3]))
    return Check("all", "Python", found, "" if sys.version_info >= (3, 10) else "install Python 3.10 or later")


def torchvision_operators() -> Check:
    """Torchvision's compiled operators load only with the torch that they were built for."""
    mend = f"{INSTALL} -r requirements/torch.txt"
    try:
        import torch
        from torchvision.ops import nms

        nms(torch.zeros(1, 4), torch.zeros(1), 0.5)
    except Exception as error:
        return Check("all", "torchvision's operators", f"{type(error).__name__}: {error}".splitlines()[0][:60], mend)
    return Check("all", "torchvision's operators", "fit torch", "")


def detectron2() -> Check:
    mend = "make setup (package index, Python part), or Detectron2's own install guide (with a GPU)"
    with contextlib.suppress(Exception):  # Detectron2's own line will say what is wrong
        importlib.import_module(TASKS["detection"].package)  # fills in what old versions miss
    return package("detection", "detectron2", ("detectron2", "detectron2-cdo"), mend)


def device() -> Check:
    import torch

    name = torch.cuda.get_device_name() if torch.cuda.is_available() else "none: training runs on the CPU"
    return Check("all", "GPU", name, "")


def checks() -> list[Callable[[], Check]]:
    frameworks = f"{INSTALL} -r requirements/frameworks.txt"
    analysis = f"{INSTALL} 'gcisg[all]'"
    return [
        python_version,
        lambda: package("all", "torch", ("torch",), f"{INSTALL} -r requirements/torch.txt", "2.4"),
        lambda: package("all", "torchvision", ("torchvision",), f"{INSTALL} -r requirements/torch.txt", "0.19"),
        torchvision_operators,
        device,
        lambda: package("all", "gcisg_core", ("gcisg",), f"{INSTALL} -e ."),
        lambda: package("classification", "mmengine", ("onedl-mmengine", "mmengine"), frameworks, "0.10"),
        lambda: package("classification", "sklearn", ("scikit-learn",), analysis),
        lambda: package("classification", "pytorch_grad_cam", ("grad-cam",), analysis),
        lambda: package("segmentation", "mmcv", ("onedl-mmcv", "mmcv"), frameworks, "2.0"),
        lambda: package("segmentation", "mmseg", ("onedl-mmsegmentation", "mmsegmentation"), frameworks, "1.0"),
        lambda: package("segmentation", "cityscapesscripts", ("cityscapesscripts",), analysis),
        detectron2,
        lambda: package("detection", "pycocotools", ("pycocotools",), frameworks),
        lambda: package("detection", "fvcore", ("fvcore",), frameworks),
    ]


def examine() -> int:
    """Print the table; returns the number of lines to mend."""
    results = []
    for check in checks():
        try:
            results.append(check())
        except ImportError as error:  # of what an earlier line reports
            results.append(Check("all", getattr(check, "__name__", "check"), str(error)[:60], "mend the lines above"))
    width = [max(len(row[column]) for row in results) for column in range(3)]
    for task, what, found, mend in results:
        status = "ok  " if not mend else "MEND"
        print(f"{status}  {task:{width[0]}}  {what:{width[1]}}  {found:{width[2]}}  {mend}".rstrip())
    wrong = sum(bool(row.mend) for row in results)
    print(f"\n{wrong} to mend." if wrong else "\nEverything is in place.")
    return wrong
