"""Changes of a backbone that any method can be combined with, chosen by name; all are off by default."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from torch import nn

from gcisg_core.ibn import convert_to_ibn
from gcisg_core.lookup import choose
from gcisg_core.mixstyle import add_mixstyle

CHANGES: dict[str, Callable[[nn.Module, Any], None]] = {"ibn": convert_to_ibn, "mixstyle": add_mixstyle}


def change_backbone(backbone: nn.Module, changes: Mapping[str, Any] | None) -> None:
    """Change a backbone in place, before its weights are loaded and before a method is built for it.

    Args:
        backbone: A ResNet of torchvision, MMSegmentation or Detectron2.
        changes: Name -> value: ``{"ibn": "a", "mixstyle": {"p": 0.5}}``.

    Raises:
        ValueError: a name or a value is unknown, or the change is not defined for this network.
    """
    for name, value in (changes or {}).items():
        choose(CHANGES, name, "change of the backbone")(backbone, value)
