"""The detector of a recorded step, built again."""

from __future__ import annotations

from typing import Any

import torch
import yaml
from detectron2.config import CfgNode, get_cfg
from detectron2.modeling import build_model as build_detector
from torch import nn

from .config import add_detection_config
from .engine import train_in_bfloat16


def build_model(record: dict[str, Any]) -> nn.Module:
    """The model of a record's config, without weights."""
    cfg = get_cfg()
    add_detection_config(cfg)
    cfg.merge_from_other_cfg(CfgNode(yaml.safe_load(record["config"])))
    if not torch.cuda.is_available():
        cfg.MODEL.DEVICE = "cpu"
    model = build_detector(cfg)
    if cfg.MODEL.DEVICE == "cpu" and cfg.SOLVER.AMP.ENABLED:
        train_in_bfloat16(model)
    return model
