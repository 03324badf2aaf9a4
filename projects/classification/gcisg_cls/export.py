"""A trained classifier as a ResNet of torchvision."""

from __future__ import annotations

from typing import Any

import torchvision
from mmengine.config import Config
from mmengine.runner import CheckpointLoader
from torch import nn

from gcisg_cls.classifier import SynToRealClassifier
from gcisg_cls.datasets import VISDA17_CLASSES
from gcisg_cls.views import MEAN, STD
from gcisg_core.config import require
from gcisg_core.export import Export, without_method

_CONFIG = '''\
"""Builds the network of {checkpoint}; torchvision alone is needed."""

import torch
import torchvision
from torch import nn

MEAN, STD = %s, %s  # RGB in [0, 1]


def load(path):
    model = torchvision.models.%s()
    model.fc = %s
    model.load_state_dict(torch.load(path, map_location="cpu", weights_only=True), strict=True)
    return model.eval()
'''


def export(config: Config, checkpoint: str) -> Export:
    """The ResNet with the head as its `fc`, without the method.

    It was tried: torchvision's network took the tensors strictly.

    Raises:
        ValueError: the backbone is none of torchvision, or was changed (IBN-Net, MixStyle).
        RuntimeError: the checkpoint is one of another model.
    """
    values = {key: value for key, value in config.model.items() if key not in ("type", "regularizer", "weights")}
    name = values.get("backbone", "resnet101")
    known = name in torchvision.models.list_models()
    require(known, "model.backbone", name, "a ResNet of torchvision, to be loaded without this suite")
    require(
        not values.get("backbone_plugins"),
        "model.backbone_plugins",
        values.get("backbone_plugins"),
        "none: torchvision lacks them",
    )
    head = SynToRealClassifier(**values).head
    loaded = CheckpointLoader.load_checkpoint(checkpoint, map_location="cpu")
    state = {
        name.replace("backbone.", "", 1) if name.startswith("backbone.") else name.replace("head.", "fc.", 1): value
        for name, value in without_method(loaded.get("state_dict", loaded)).items()
    }
    network = torchvision.models.get_model(name)
    network.fc = head
    network.load_state_dict(state, strict=True)
    meta = {
        "arch": name,
        "classes": class_names(config, loaded),
        "mean": MEAN,
        "std": STD,
        "size": config.test_dataloader.dataset.pipeline.get("size", 224),
        "seed": loaded.get("meta", {}).get("seed", config.get("randomness", {}).get("seed")),
        "trained_with": config.pretty_text,
    }
    layers = list(head.children()) or [head]
    built = ", ".join(
        f"nn.Linear({layer.in_features}, {layer.out_features})" if isinstance(layer, nn.Linear) else "nn.ReLU()"
        for layer in layers
    )
    text = _CONFIG % (MEAN, STD, name, built if len(layers) == 1 else f"nn.Sequential({built})")
    return Export(state, "", text, ".py", meta, network.eval(), (meta["size"], meta["size"]))


def class_names(config: Config, checkpoint: dict[str, Any]) -> list[str]:
    """The config's, else those that the checkpoint kept, VisDA-17's where the number fits, else numbers."""
    count = config.model.get("num_classes", len(VISDA17_CLASSES))
    kept = checkpoint.get("meta", {}).get("dataset_meta") or {}
    for names in (config.test_dataloader.dataset.get("classes"), kept.get("classes"), VISDA17_CLASSES):
        if names and len(names) == count:
            return list(names)
    return [f"class {label}" for label in range(count)]
