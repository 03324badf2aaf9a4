"""Rebuilds the detector of a recorded training step."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
import yaml
from detectron2.config import CfgNode, get_cfg
from detectron2.modeling import build_model as build_detector
from detectron2.utils.events import EventStorage
from torch import nn

from gcisg_core.integrations.detectron2.nan import framework
from gcisg_core.problems import DataError

from . import custom_imports
from .config import add_detection_config
from .engine import train_in_bfloat16

__all__ = ["build_model", "context", "framework"]


def context(record: dict[str, Any]) -> EventStorage:
    """Return the context manager in which Detectron2 runs a training step."""
    return EventStorage(record["iteration"])


def build_model(record: dict[str, Any], folder: Path, trust: bool = False) -> nn.Module:
    """Build the model of a record's config, without weights. Files in the record's folder are not used.

    Raises:
        DataError: the config is a LazyConfig, which is Python code, or imports custom code, and ``trust`` is off.
    """
    content = yaml.safe_load(record["config"])
    if "LAZY" in content:
        from .lazy.train import build_recorded

        file = content["LAZY"]["FILE"]
        if not trust:
            raise DataError(
                "the record's config", f"runs the LazyConfig {file}", "Add --trust if the record is your own"
            )
        return build_recorded(file, content["LAZY"]["OVERRIDES"])
    names = content.get(custom_imports.KEY, [])
    if names and not trust:
        raise DataError("the record's config", f"imports {', '.join(names)}", "Add --trust if the record is your own")
    custom_imports.load(names, "the record's config")
    cfg = get_cfg()
    add_detection_config(cfg)
    custom_imports.add_keys(cfg, names, "the record's config")
    cfg.merge_from_other_cfg(CfgNode(content))
    if not torch.cuda.is_available():
        cfg.MODEL.DEVICE = "cpu"
    model = build_detector(cfg)
    if cfg.MODEL.DEVICE == "cpu" and cfg.SOLVER.AMP.ENABLED:
        train_in_bfloat16(model)
    return model
