"""A trained classifier as a network of torchvision or timm."""

from __future__ import annotations

from typing import Any

from mmengine.config import Config
from mmengine.runner import CheckpointLoader
from torch import nn

from gcisg_cls.backbones import Plain, plain_network, plain_of
from gcisg_cls.classifier import SynToRealClassifier
from gcisg_cls.datasets import VISDA17_CLASSES
from gcisg_core.config import require
from gcisg_core.export import Export, without_method

_CONFIG = '''\
"""Builds the network of {checkpoint}; %(library)s alone is needed."""

import %(library)s
import torch
from torch import nn

MEAN, STD = %(mean)s, %(std)s  # RGB in [0, 1]


def load(path):
    model = %(build)s
    model.set_submodule("%(classifier)s", %(head)s)
    model.load_state_dict(torch.load(path, map_location="cpu", weights_only=True), strict=True)
    return model.eval()
'''
_BUILDERS = {"torchvision": "torchvision.models.get_model", "timm": "timm.create_model"}


def export(config: Config, checkpoint: str) -> Export:
    """The library's network with the head as its classifier, without the method.

    Verified: the tensors load into the library's network with `strict=True`.

    Raises:
        ValueError: the backbone is the miniature's or was changed (IBN-Net, MixStyle), or the classifier is your
            own class.
        RuntimeError: the checkpoint belongs to another model.
    """
    values = {key: value for key, value in config.model.items() if key not in ("type", "regularizer", "weights")}
    name, kind = values.get("backbone", "resnet101"), config.model.get("type")
    require(
        kind == "SynToRealClassifier",
        "model.type",
        kind,
        "SynToRealClassifier: what another class makes of the backbone has no form in the plain library",
    )
    require(
        name != "mini_resnet",
        "model.backbone",
        name,
        "a network of torchvision or timm, so that exports load without this suite",
    )
    require(
        not values.get("backbone_plugins"),
        "model.backbone_plugins",
        values.get("backbone_plugins"),
        "none: the plain library lacks them",
    )
    model = SynToRealClassifier(**values)
    plain = plain_of(model.backbone)
    loaded = CheckpointLoader.load_checkpoint(checkpoint, map_location="cpu")
    state = {
        key.removeprefix("backbone.")
        if key.startswith("backbone.")
        else key.replace("head", plain.classifier, 1): value
        for key, value in without_method(loaded.get("state_dict", loaded)).items()
    }
    network = plain_network(plain, model.head)
    if plain.convolution:
        weights = [key for key in state if key.startswith(f"{plain.classifier}.") and key.endswith(".weight")]
        state |= {key: state[key][..., None, None] for key in weights}
    network.load_state_dict(state, strict=True)
    size = config.test_dataloader.dataset.pipeline.get("size", 224)
    meta = {
        "arch": name,
        "options": plain.options,
        "classes": class_names(config, loaded),
        "mean": plain.mean,
        "std": plain.std,
        "size": size,
        "seed": loaded.get("meta", {}).get("seed", config.get("randomness", {}).get("seed")),
        "trained_with": config.pretty_text,
    }
    text = _CONFIG % {**plain._asdict(), "build": _call(plain), "head": _head(network.get_submodule(plain.classifier))}
    return Export(state, "", text, ".py", meta, network.eval(), (size, size))


def _call(plain: Plain) -> str:
    """The expression that builds the library's network."""
    arguments = [repr(plain.arch), *(f"{key}={value!r}" for key, value in plain.options.items())]
    return f"{_BUILDERS[plain.library]}({', '.join(arguments)})".replace("'", '"')


def _head(head: nn.Module) -> str:
    """The expression that builds a head."""
    layers = [*head.children()] or [head]
    built = ", ".join(map(_layer, layers))
    return built if len(layers) == 1 else f"nn.Sequential({built})"


def _layer(layer: nn.Module) -> str:
    if isinstance(layer, nn.Conv2d):
        return f"nn.Conv2d({layer.in_channels}, {layer.out_channels}, 1)"
    return f"nn.Linear({layer.in_features}, {layer.out_features})" if isinstance(layer, nn.Linear) else "nn.ReLU()"


def class_names(config: Config, checkpoint: dict[str, Any]) -> list[str]:
    """The config's classes, else the checkpoint's, else VisDA-17's if their number fits, else numbers."""
    count = config.model.get("num_classes", len(VISDA17_CLASSES))
    kept = checkpoint.get("meta", {}).get("dataset_meta") or {}
    for names in (config.test_dataloader.dataset.get("classes"), kept.get("classes"), VISDA17_CLASSES):
        if names and len(names) == count:
            return list(names)
    return [f"class {label}" for label in range(count)]
