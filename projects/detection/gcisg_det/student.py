"""The network that a config's method regularises."""

from __future__ import annotations

from typing import Any

from detectron2.config import CfgNode
from detectron2.modeling import build_model
from torch import nn

from gcisg_core.config import require
from gcisg_core.integrations.detectron2 import regularizer_values
from gcisg_core.stages import below_pyramid, find_backbone


def student_of(cfg: CfgNode) -> tuple[nn.Module, dict[str, Any]]:
    """The bottom-up network of a config's detector, with its changes and without weights, and the method's values.

    Raises:
        ValueError: the detector has no backbone.
    """
    values, cfg = regularizer_values(cfg), cfg.clone()
    cfg.defrost()
    cfg.MODEL.DEVICE = "cpu"
    cfg.REGULARIZER = CfgNode({"METHOD": "none"})
    backbone = find_backbone(build_model(cfg))
    require(backbone is not None, "MODEL.META_ARCHITECTURE", cfg.MODEL.META_ARCHITECTURE, "one with a backbone")
    assert backbone is not None
    return below_pyramid(backbone), values
