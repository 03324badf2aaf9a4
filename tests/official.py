"""Checkpoints as the official mmengine 0.10 with numpy 1 writes them."""

from __future__ import annotations

import zipfile
from collections import defaultdict
from pathlib import Path
from typing import Any

import numpy as np
import torch
from mmengine.config import ConfigDict
from mmengine.logging import HistoryBuffer


def save_official(content: dict[str, Any], path: Path) -> None:
    """Write a checkpoint with a message hub as training leaves it, under the module names of numpy 1."""
    hub = {
        "log_scalars": {"train/loss": HistoryBuffer([2.0, 0.1 + 0.2], [1, 1])},
        "runtime_info": {"iter": 2, "best": np.float64(0.5), "seen": defaultdict(int, a=1)},
        "resumed_keys": {"train/loss": True},
    }
    meta = {"cfg": ConfigDict(a={"b": 1}), "root": Path("/data/x"), **content.get("meta", {})}
    torch.save({"message_hub": hub, **content, "meta": meta}, path)
    as_numpy_1(path)


def as_numpy_1(path: Path) -> None:
    with zipfile.ZipFile(path) as archive:
        members = {name: archive.read(name) for name in archive.namelist()}
    with zipfile.ZipFile(path, "w") as archive:
        for name, data in members.items():
            archive.writestr(name, data.replace(b"cnumpy._core.", b"cnumpy.core."))
