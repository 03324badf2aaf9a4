"""Labels for images, by a trained classifier or a plain ResNet of torchvision."""

from __future__ import annotations

import json
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

from gcisg_cls.export import class_names
from gcisg_cls.views import EvalView, normalize
from gcisg_core.config import require
from gcisg_core.export import METHOD_PREFIX
from gcisg_core.integrations.mmengine import check_state
from gcisg_core.safe_load import read_checkpoint, read_state_dict, unwrap_state_dict

SHOWN = 5  # best classes in the records


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
    """A plain ResNet of torchvision, by its name or by the `.py` of its export; None for any other config."""
    if config in torchvision.models.list_models(include="res*"):
        return from_torchvision(config, checkpoint, device)
    known = known_export(config)
    return from_torchvision(known["arch"], checkpoint, device, known) if known else None


def from_config(config: Config, checkpoint: str, device: str, score: float = 0.0) -> Predictor:
    """A classifier of this suite; its checkpoint, or an export of it. It has no use for ``score``.

    Raises:
        ValueError: the checkpoint is one of another model, or cannot be read.
    """
    values = {**config.model, "regularizer": {"method": "none"}, "weights": None}
    model: Any = MODELS.build(values)
    content = read_checkpoint(checkpoint)
    state = unwrap_state_dict(content, checkpoint)
    if any(name.startswith("fc.") for name in state):
        state = {f"head.{name[3:]}" if name.startswith("fc.") else f"backbone.{name}": state[name] for name in state}
    check_state(model, state, checkpoint, ignore=(METHOD_PREFIX,))
    model.load_state_dict(state, strict=False)
    view = EvalView(config.test_dataloader.dataset.pipeline.get("size", 224))
    network = nn.Sequential(model.backbone, model.head)
    return Predictor(network, lambda image: normalize(view(image)), class_names(config, content), device)


def from_torchvision(arch: str, checkpoint: str, device: str, known: dict[str, Any] | None = None) -> Predictor:
    """A plain ResNet of torchvision; its head is that of the checkpoint.

    Args:
        arch: ``resnet50``, ...
        checkpoint: A state dict with `fc`.
        device: Where it runs.
        known: ``classes`` and ``size`` of an export; by default ImageNet's where there are 1000, else numbers.

    Raises:
        ValueError: the checkpoint is one of another network, or cannot be read.
    """
    network: Any = torchvision.models.get_model(arch)
    state = read_state_dict(checkpoint)
    shapes = [value.shape for name, value in state.items() if name.startswith("fc.") and name.endswith("weight")]
    require(bool(shapes), checkpoint, list(state)[:3], "a state dict of torchvision's names with the classifier `fc`")
    head = [nn.Linear(inputs, outputs) for outputs, inputs in shapes]
    network.fc = head[0] if "fc.weight" in state else nn.Sequential(head[0], nn.ReLU(), *head[1:])
    check_state(network, state, checkpoint)
    network.load_state_dict(state)
    known = known or {}
    original = torchvision.models.get_model_weights(arch).DEFAULT
    count = head[-1].out_features
    numbers = [f"class {label}" for label in range(count)]
    names = known.get("classes") or (original.meta["categories"] if count == 1000 else numbers)
    require(len(names) == count, f"{checkpoint}: its classes", count, f"{len(names)}, those known by name")
    if "size" in known:
        view = EvalView(known["size"])
        return Predictor(network, lambda image: normalize(view(image)), names, device)
    return Predictor(network, original.transforms(), names, device)


def known_export(config: str) -> dict[str, Any] | None:
    """What is known of an exported classifier, by the `.py` that `gcisg export` wrote; None for other files."""
    beside = Path(config).with_suffix(".json")
    known = json.loads(beside.read_text()) if beside.is_file() else {}
    return known if "arch" in known else None
