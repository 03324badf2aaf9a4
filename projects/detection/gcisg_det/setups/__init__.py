"""Detector, images and data of a `.yaml` config or a LazyConfig, through one interface."""

from __future__ import annotations

from typing import Any

from detectron2.config import CfgNode

from .base import DetectorSetup
from .yaml import YamlSetup

__all__ = ["DetectorSetup", "setup_of"]


def setup_of(config: Any) -> DetectorSetup:
    """Return the setup of a config: a `CfgNode`, or the nodes of a LazyConfig."""
    if isinstance(config, CfgNode):
        return YamlSetup(config)
    from .lazy import LazySetup  # only LazyConfigs need it

    return LazySetup(config)
