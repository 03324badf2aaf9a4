"""Export a detector of a LazyConfig to plain Detectron2."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any

import torch
from detectron2.config import LazyConfig, instantiate
from detectron2.utils.registry import _convert_target_to_string, locate
from omegaconf import OmegaConf, SCMode

from gcisg_core.export import Export
from gcisg_core.export import without_method as without_tensors
from gcisg_core.integrations.detectron2.checkpoints import SafeCheckpointer
from gcisg_core.problems import DataError

from ..datasets import class_ids_of
from ..setups.lazy import first_name
from .config import as_text, leaves, nodes
from .method import without_method

REMEDY = "Define it in a module that can be imported without this suite, and name it in the config"


def export_lazy(config: Any, checkpoint: str) -> Export:
    """Export the detector without the method, and a LazyConfig as YAML that needs only Detectron2.

    `LazyConfig.load` reads the config: `model` builds the detector, `train.init_checkpoint` is the file of
    weights, and `dataloader.test.mapper` prepares images.

    Verified: the tensors load with `strict=True` into the model that the text builds.

    Raises:
        DataError: the checkpoint cannot be read, or the config holds something that plain Detectron2 cannot build.
        RuntimeError: the checkpoint belongs to another model, or IBN-Net changed the backbone.
    """
    mapper = OmegaConf.select(config, "dataloader.test.mapper")
    content = {
        "model": _resolved(without_method(config.model)),
        "dataloader": {"test": {} if mapper is None else {"mapper": _resolved(mapper)}},
        "train": {"init_checkpoint": "{checkpoint}"},
    }
    for key, value in leaves(content):
        if "<" in getattr(value, "__qualname__", ""):
            raise DataError(key, "is a function without a name, such as a lambda", REMEDY)
    whole: Any = OmegaConf.create(content, flags={"allow_objects": True})
    for key, node in nodes(whole):
        name = node["_target_"] if isinstance(node["_target_"], str) else _convert_target_to_string(node["_target_"])
        if name.startswith("gcisg_") or not _can_be_imported(name):
            where = "part of this suite" if name.startswith("gcisg_") else "defined in the config file"
            raise DataError(key, f"builds {name.rpartition('.')[2]}, which is {where}", REMEDY)
    text = _as_yaml(whole)
    model = instantiate(whole.model)
    loaded = SafeCheckpointer(model)._load_file(checkpoint)
    state = without_tensors({key: torch.as_tensor(value) for key, value in loaded["model"].items()})
    model.load_state_dict(state, strict=True)
    ids = class_ids_of(first_name(config.dataloader.test))
    seed = config.train.get("seed", -1)
    meta = {"classes": list(ids), "category_ids": list(ids.values()), "seed": seed, "trained_with": as_text(config)}
    return Export(state, "model", text, ".yaml", meta)


def _resolved(node: Any) -> Any:
    """Convert a node to plain containers and objects, with references to other nodes resolved."""
    return OmegaConf.to_container(node, resolve=True, structured_config_mode=SCMode.INSTANTIATE)


def _can_be_imported(name: str) -> bool:
    try:
        return locate(name) is not None
    except ImportError:
        return False


def _as_yaml(config: Any) -> str:
    """Return the config as text for `LazyConfig.load`; verified by loading it and building the model."""
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "exported.yaml"
        LazyConfig.save(config, str(file))
        try:
            instantiate(LazyConfig.load(str(file)).model)  # safe: written above
        except Exception as error:
            what = f"cannot be written as YAML ({' '.join(str(error).split())[:200] or type(error).__name__})"
            raise DataError("model", what, REMEDY) from error
        return file.read_text()
