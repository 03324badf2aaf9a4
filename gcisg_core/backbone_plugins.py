"""Backbone plugins: layers, chosen by name, that can be combined with any method. All are off by default."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from torch import nn

from gcisg_core.ibn import convert_to_ibn
from gcisg_core.lookup import choose
from gcisg_core.mixstyle import add_mixstyle

BACKBONE_PLUGINS: dict[str, Callable[[nn.Module, Any], None]] = {"ibn": convert_to_ibn, "mixstyle": add_mixstyle}


def apply_backbone_plugins(backbone: nn.Module, plugins: Mapping[str, Any] | None) -> None:
    """Add plugins to a backbone, in place. Call it before weights are loaded and before a method is built.

    Args:
        backbone: A ResNet of torchvision, MMSegmentation or Detectron2.
        plugins: Name -> value: ``{"ibn": "a", "mixstyle": {"p": 0.5}}``.

    Raises:
        ValueError: a name or a value is unknown, or the plugin is not defined for this network.
    """
    for name, value in (plugins or {}).items():
        choose(BACKBONE_PLUGINS, name, "backbone plugin")(backbone, value)
