"""The backbone that a config's method regularises."""

from __future__ import annotations

from typing import Any

from torch import nn

from gcisg_core.stages import below_pyramid, find_backbone

from .setups import setup_of


def student_of(config: Any) -> tuple[nn.Module, dict[str, Any]]:
    """Build a config's bottom-up network, with its plugins and without weights; also return the method's values.

    Raises:
        ValueError: the detector has no backbone.
    """
    setup = setup_of(config)
    values, model = setup.method(), setup.build()
    backbone = find_backbone(model)
    if backbone is None:
        raise ValueError(f"{type(model).__name__} has no backbone, which every method needs")
    return below_pyramid(backbone), values
