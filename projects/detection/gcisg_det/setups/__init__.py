"""A detector, its images and its data, as a config of either kind describes them."""

from __future__ import annotations

from typing import Any

from detectron2.config import CfgNode

from .base import DetectorSetup
from .yaml import YamlSetup

__all__ = ["DetectorSetup", "setup_of"]


def setup_of(config: Any) -> DetectorSetup:
    """The set-up of a config: a `CfgNode`, or the nodes of a LazyConfig."""
    if isinstance(config, CfgNode):
        return YamlSetup(config)
    from .lazy import LazySetup  # a yaml config needs nothing of it

    return LazySetup(config)
