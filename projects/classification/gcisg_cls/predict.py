"""Labels for images, by a trained classifier or a plain network of torchvision or timm."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torchvision
from mmengine.config import Config
from mmengine.registry import MODELS
from PIL import Image, ImageDraw, ImageFont
from torch import Tensor, nn

from gcisg_cls.backbones import Plain, build_backbone, plain_of, read_weights
from gcisg_cls.classifier import own_names
from gcisg_cls.export import class_names
from gcisg_cls.views import EvalView, normalize
from gcisg_core.config import require
from gcisg_core.export import METHOD_PREFIX
from gcisg_core.integrations.mmengine import check_state
from gcisg_core.safe_load import read_checkpoint, unwrap_state_dict
from gcisg_suite.text import read_json_object

SHOWN = 5  # best classes in the records
IMAGENET_CLASSES = torchvision.models.ResNet18_Weights.DEFAULT.meta["categories"]


class Predictor:
    """See `gcisg predict`, which uses it.

    Args:
        network: Images (B, 3, H, W) as `transform` makes them -> scores (B, classes).
        transform: PIL image, RGB -> (3, H, W), normalised.
        classes: Their names.
        device: Where the network runs.
    """

    label_map = None

    def __init__(
        self, network: nn.Module, transform: Callable[[Any], Tensor], classes: Sequence[str], device: str
    ) -> None:
        self.network, self.transform, self.device = network.to(device).eval(), transform, device
        self.classes = list(classes)
        self.font = ImageFont.load_default(size=16)
        self.width = max(int(self.font.getlength(f" {name} 100 % ")) for name in self.classes)

    @torch.inference_mode()
    def predict(self, images: Sequence[np.ndarray]) -> list[Tensor]:
        """The probabilities (classes,) of images (H, W, 3), uint8, RGB."""
        batch = torch.stack([self.transform(Image.fromarray(image)) for image in images])
        return list(self.network(batch.to(self.device)).softmax(dim=1).cpu())

    def record(self, result: Tensor, about: dict[str, Any]) -> list[dict[str, Any]]:
        """One entry: the best class, and the best few."""
        best = result.topk(min(SHOWN, len(self.classes)))
        top = [
            {"label": i, "class": self.classes[i], "score": s} for s, i in zip(*map(Tensor.tolist, best), strict=True)
        ]
        return [{**about, **top[0], "top": top}]

    def draw(self, image: np.ndarray, result: Tensor) -> np.ndarray:
        """The image over a strip with the best class; as wide as the longest caption."""
        score, label = (value.item() for value in result.max(dim=0))
        height, width = image.shape[:2]
        canvas = Image.new("RGB", (max(width, self.width), height + 24), "black")
        canvas.paste(Image.fromarray(image))
        caption = f" {self.classes[int(label)]} {100 * score:.0f} %"
        ImageDraw.Draw(canvas).text((0, height + 2), caption, "white", self.font)
        return np.asarray(canvas)


def from_name(config: str, checkpoint: str, device: str) -> Predictor | None:
    """A plain network by its name (``resnet50``, ``timm:NAME``) or by the `.py` of its export; None for others."""
    if config in torchvision.models.list_models(include="res*") or config.startswith(("torchvision:", "timm:")):
        return from_library(config, checkpoint, device)
    known = known_export(config)
    return from_library(known["arch"], checkpoint, device, known) if known else None


def from_config(config: Config, checkpoint: str, device: str, score: float = 0.0) -> Predictor:
    """A classifier of this suite; its checkpoint, or an export of it. It has no use for ``score``.

    Raises:
        ValueError: the checkpoint is one of another model, or cannot be read.
    """
    values = {**config.model, "regularizer": {"method": "none"}, "weights": None}
    model: Any = MODELS.build(values)
    content = read_checkpoint(checkpoint)
    state = unwrap_state_dict(content, checkpoint)
    state = own_names(state, plain_of(model.backbone).classifier)
    check_state(model, state, checkpoint, ignore=(METHOD_PREFIX,))
    model.load_state_dict(state, strict=False)
    view = EvalView(config.test_dataloader.dataset.pipeline.get("size", 224))
    network = nn.Sequential(model.backbone, model.head)
    return Predictor(network, lambda image: normalize(view(image)), class_names(config, content), device)


def from_library(name: str, checkpoint: str, device: str, known: dict[str, Any] | None = None) -> Predictor:
    """A plain network of torchvision or timm; its head is that of the checkpoint.

    Args:
        name: See :func:`gcisg_cls.backbones.build_backbone`.
        checkpoint: A state dict with the library's names, or a file that the library converts.
        device: Where it runs.
        known: ``options``, ``classes`` and ``size`` of an export; by default ImageNet's classes where there are 1000,
            else numbers, and images as the library's own weights take them.

    Raises:
        ValueError: the checkpoint is one of another network, or cannot be read.
    """
    known = known or {}
    backbone, _ = build_backbone(name, known.get("options"))
    plain = plain_of(backbone)
    state = own_names(read_weights(name, checkpoint, plain.options), plain.classifier)
    shapes = [value.shape for key, value in state.items() if key.startswith("head.") and key.endswith("weight")]
    expected = f"a state dict with {plain.library}'s names and the classifier `{plain.classifier}`"
    require(bool(shapes), checkpoint, list(state)[:3], expected)
    layers = [nn.Linear(inputs, outputs) for outputs, inputs in shapes]
    head = layers[0] if "head.weight" in state else nn.Sequential(layers[0], nn.ReLU(), *layers[1:])
    network = nn.Sequential(OrderedDict(backbone=backbone, head=head))
    check_state(network, state, checkpoint)
    network.load_state_dict(state, strict=False)
    count = layers[-1].out_features
    names = known.get("classes") or (
        IMAGENET_CLASSES if count == 1000 else [f"class {label}" for label in range(count)]
    )
    require(len(names) == count, f"{checkpoint}: its classes", count, f"{len(names)}, those known by name")
    if "size" in known:
        view = EvalView(known["size"])
        return Predictor(network, lambda image: normalize(view(image)), names, device)
    backbone._forward_pre_hooks.clear()  # the library's transform has normalised
    return Predictor(network, library_transform(plain), names, device)


def library_transform(plain: Plain) -> Callable[[Any], Tensor]:
    """PIL image, RGB -> (3, H, W), normalised, as the library evaluates its own weights of a network."""
    if plain.library == "torchvision":
        transform: Callable[[Any], Tensor] = torchvision.models.get_model_weights(plain.arch).DEFAULT.transforms()
        return transform
    import timm.data

    own: Callable[[Any], Tensor] = timm.data.create_transform(
        **timm.data.resolve_data_config({}, pretrained_cfg=timm.models.get_pretrained_cfg(plain.arch).to_dict())  # type: ignore[union-attr]
    )
    return own


def known_export(config: str) -> dict[str, Any] | None:
    """What is known of an exported classifier, by the `.py` that `gcisg export` wrote; None for other files."""
    beside = Path(config).with_suffix(".json")
    known = read_json_object(beside)
    return known if "arch" in known else None
