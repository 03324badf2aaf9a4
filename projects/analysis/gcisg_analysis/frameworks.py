"""Configs of either framework, and what stands for their task."""

from __future__ import annotations

from collections.abc import Sequence
from importlib import import_module
from pathlib import Path
from types import ModuleType
from typing import Any

from .task import Options, Task

TASKS = {"gcisg_cls": "ClassificationTask", "gcisg_seg": "SegmentationTask", "gcisg_det": "DetectionTask"}


def read_config(file: str | Path, overrides: Sequence[str]) -> Any:
    """A config of mmengine or Detectron2; the framework is that of its suffix.

    Raises:
        ValueError, FileNotFoundError: it cannot be used.
    """
    if Path(file).suffix in (".yaml", ".yml"):
        import gcisg_det  # noqa: F401  repairs Detectron2 0.5 before it is imported
        from gcisg_det.config import read_config as read_detectron2

        return read_detectron2(file, overrides)
    from gcisg_core.integrations.mmengine import load_config

    return load_config(str(file), list(overrides))


def package_of(config: Any) -> str:
    """The project's package for the task of a config."""
    if "DATASETS" in config:
        return "gcisg_det"
    return "gcisg_seg" if config.get("default_scope") == "mmseg" else "gcisg_cls"


def make_task(config: Any, options: Options) -> Task:
    """The task of a config.

    Raises:
        ValueError, FileNotFoundError: the config, the data or the reference cannot be used.
    """
    package = package_of(config)
    task: Task = getattr(import_module(f"{package}.analysis"), TASKS[package])(config, options)
    return task


def selection_of(config: Any) -> ModuleType:
    """The module that says on which images checkpoints of this config's task are chosen."""
    return import_module(f"{package_of(config)}.selection")
