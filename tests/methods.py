"""Small settings of any method, found from its dataclass: a new method needs no line in the generic tests."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import torch
from PIL import Image
from torchvision.models import resnet18

from gcisg_core.regularizers import METHODS

# What is given to every method that has such a field; large sizes made small, schedules short.
SMALL: dict[str, Any] = {
    "queue_length": 40,
    "embedding_dim": 8,
    "interval": 2,
    "warmup_steps": 2,
    "statistics_steps": 1,
}
CLASSES = 7


def settings_of(method: str, folder: Path, channels: int = 192) -> dict[str, Any]:
    """``method`` and its small settings.

    Args:
        method: A name of ``METHODS``.
        folder: Where files that a method needs are written.
        channels: C of the backbone's last stage.
    """
    fields = {field.name for field in dataclasses.fields(METHODS[method].settings_class)}
    values = {name: value for name, value in SMALL.items() if name in fields}
    if "classifier" in fields:
        generator = torch.Generator().manual_seed(0)
        weight, bias = torch.randn(CLASSES, channels, generator=generator), torch.zeros(CLASSES)
        torch.save({"fc.weight": weight, "fc.bias": bias}, folder / "classifier.pth")
        values["classifier"] = str(folder / "classifier.pth")
    if "guide" in fields:
        if not (folder / "guide.pth").is_file():
            torch.save(resnet18().state_dict(), folder / "guide.pth")
        values |= {"guide": "torchvision:resnet18", "guide_weights": str(folder / "guide.pth")}
    return {"method": method, **values}


def write_styles(folder: Path, count: int = 3) -> Path:
    """A folder of style images: flat ones with noise, each of its own colour."""
    folder.mkdir(parents=True)
    for number in range(count):
        noise = 40 * torch.rand(24, 20, 3, generator=torch.Generator().manual_seed(number))
        noise[..., number % 3] += 160
        Image.fromarray(noise.to(torch.uint8).numpy()).save(folder / f"{number}.png")
    return folder
