"""Export a trained detector to plain Detectron2."""

from __future__ import annotations

from typing import Any

import torch
import yaml
from detectron2.config import CfgNode, get_cfg
from detectron2.modeling import BACKBONE_REGISTRY, build_model

from gcisg_core.config import require
from gcisg_core.export import Export, without_method
from gcisg_core.integrations.detectron2.checkpoints import SafeCheckpointer

from . import custom_imports
from .datasets import class_ids, setup_datasets


def export(config: Any, checkpoint: str) -> Export:
    """Export the detector without the method, and a config of the same kind that needs only Detectron2.

    Verified: the tensors load into the plain detector, built on the CPU, with `strict=True`.

    Raises:
        ValueError: Detectron2 cannot build the backbone: it is part of or modified by this suite (IBN-Net, MixStyle).
        DataError: the checkpoint cannot be read.
        RuntimeError: the checkpoint belongs to another model.
    """
    if isinstance(config, CfgNode):
        return _export_yaml(config, checkpoint)
    from .lazy.export import export_lazy  # only LazyConfigs need it

    return export_lazy(config, checkpoint)


def _export_yaml(cfg: CfgNode, checkpoint: str) -> Export:
    cfg.MODEL.DEVICE = "cpu"
    setup_datasets(cfg)
    name = cfg.MODEL.BACKBONE.NAME
    own = BACKBONE_REGISTRY.get(name).__module__.startswith("gcisg")
    require(not own, "MODEL.BACKBONE.NAME", name, "a backbone of Detectron2, so that exports load without this suite")
    plain, defaults = _defaults(cfg), _defaults(cfg)
    _copy(cfg, plain)
    if cfg.MODEL.META_ARCHITECTURE == "SynToRealDetector":
        plain.MODEL.META_ARCHITECTURE = cfg.MODEL.PARENT_ARCHITECTURE
    plain.DATASETS.TRAIN = plain.DATASETS.TEST = ()
    model = build_model(plain)
    loaded = SafeCheckpointer(model)._load_file(checkpoint)
    state = without_method({key: torch.as_tensor(value) for key, value in loaded["model"].items()})
    model.load_state_dict(state, strict=True)
    plain.MODEL.WEIGHTS = "{checkpoint}"
    # Only values that differ from the defaults: the keys differ between versions of Detectron2.
    text = yaml.safe_dump(_difference(plain, defaults), sort_keys=False)
    if cfg.CUSTOM_IMPORTS:
        names = ", ".join(cfg.CUSTOM_IMPORTS)
        text = f"# Before you load this config: import {names}; call a function named after a colon with cfg.\n{text}"
    ids = class_ids(cfg)
    meta = {"classes": list(ids), "category_ids": list(ids.values()), "seed": cfg.SEED, "trained_with": cfg.dump()}
    return Export(state, "model", text, ".yaml", meta)


def _defaults(cfg: CfgNode) -> CfgNode:
    """Return the framework's defaults, with the keys that the config's custom imports add."""
    defaults = get_cfg()
    custom_imports.add_keys(defaults, cfg.CUSTOM_IMPORTS, custom_imports.KEY)
    return defaults


def _copy(source: CfgNode, target: CfgNode) -> None:
    """Copy the values of the keys that the target has."""
    for key, value in target.items():
        if isinstance(value, CfgNode):
            _copy(source[key], value)
        else:
            target[key] = source[key]


def _difference(config: CfgNode, defaults: CfgNode) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for key, value in config.items():
        if isinstance(value, CfgNode):
            inner = _difference(value, defaults[key])
            found |= {key: inner} if inner else {}
        elif value != defaults[key]:
            found[key] = list(value) if isinstance(value, tuple) else value
    return found
