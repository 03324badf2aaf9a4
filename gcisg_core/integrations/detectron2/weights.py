"""Input statistics of ImageNet weights, and conversion of torchvision's weights to Detectron2's form.

MSRA (`detectron2://ImageNetPretrained/MSRA/R-101.pkl`): Caffe's order BGR, standard deviations absorbed in the first
convolution, stride in the 1x1 convolution. torchvision: RGB, ImageNet's means and deviations times 255, stride in the
3x3 convolution. The weights load into either network without an error, but only the right one gives their features.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import torch
from detectron2.config import CfgNode

from gcisg_core.guides import IMAGENET_MEAN, IMAGENET_STD

MEAN_RGB, STD_RGB = ([round(255 * value, 3) for value in values] for values in (IMAGENET_MEAN, IMAGENET_STD))
STATISTICS: dict[str, dict[str, Any]] = {
    "MSRA": {"INPUT.FORMAT": "BGR", "MODEL.PIXEL_MEAN": MEAN_RGB[::-1], "MODEL.PIXEL_STD": [1.0, 1.0, 1.0],
             "MODEL.RESNETS.STRIDE_IN_1X1": True},
    "torchvision": {"INPUT.FORMAT": "RGB", "MODEL.PIXEL_MEAN": MEAN_RGB, "MODEL.PIXEL_STD": STD_RGB,
                    "MODEL.RESNETS.STRIDE_IN_1X1": False},
}  # fmt: skip


def weights_kind(file: str, author: str, names: Iterable[str] = ()) -> str | None:
    """Return the key of :data:`STATISTICS` to which a file belongs, or None.

    Args:
        file: Its path.
        author: Its entry `__author__`; the framework sets `Caffe2` if there is none.
        names: The names of its tensors. torchvision's form (also timm's and OpenMMLab's) goes with torchvision's
            statistics, but for OpenMMLab's conversions of Caffe's networks, whose files are called so.
    """
    theirs = any(re.match(r"(|.*\.)layer1\.0\.conv1\.weight$", name) for name in names)
    if author == "torchvision" or (theirs and not re.search("caffe|msra", Path(file).name.lower())):
        return "torchvision"
    return "MSRA" if author == "Caffe2" and re.fullmatch(r"R-(50|101)\.pkl", Path(file).name) else None


def check_pixel_statistics(cfg: CfgNode, file: str, author: str, names: Iterable[str] = ()) -> None:
    """Compare the pixel statistics, the channel order and the place of the stride with those of known weights.

    Raises:
        ValueError: They differ; the message holds the lines to paste.
    """
    kind = weights_kind(file, author, names)
    if kind is None:
        return
    expected = STATISTICS[kind]
    lines, wrong = [], []
    for key, value in expected.items():
        *path, name = key.split(".")
        node = cfg
        for part in path:
            node = node[part]
        found = node[name]
        pairs = zip(found, value, strict=True) if isinstance(value, list) and len(found) == len(value) else ()
        if not (all(abs(a - b) < 0.01 for a, b in pairs) if pairs else found == value):
            wrong.append(f"{key} is {found}")
        lines.append(f"{key} {value!r}")
    if wrong:
        raise ValueError(f"{file} holds {kind} weights, but {', '.join(wrong)}. The config needs: " + "; ".join(lines))


def torchvision_to_detectron2(state_dict: dict[str, torch.Tensor]) -> dict[str, Any]:
    """Rename a torchvision ResNet's weights for Detectron2; the classifier is left out.

    Write the result with `pickle.dump` to a `.pkl` file and name it in `MODEL.WEIGHTS`.

    Args:
        state_dict: That of `torchvision.models.resnet50`, `resnet101` or `resnet152`.
    """
    model = {}
    for key, value in state_dict.items():
        if key.startswith("fc."):
            continue
        name = re.sub(r"^layer(\d)", lambda match: f"res{int(match[1]) + 1}", key)
        name = name if name.startswith("res") else f"stem.{name}"
        name = name.replace("downsample.0", "shortcut").replace("downsample.1", "shortcut.norm")
        model[re.sub(r"\bbn(\d)", r"conv\1.norm", name)] = value.numpy()
    return {"model": model, "__author__": "torchvision", "matching_heuristics": True}
