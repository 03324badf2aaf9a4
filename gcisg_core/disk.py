"""Checks the disk space for a run's checkpoints before its first step."""

from __future__ import annotations

import shutil
from pathlib import Path

from torch import nn
from torch.optim import Optimizer

from gcisg_core.refused_start import accept_start, undo_start

CHECKPOINTS = 2  # a new one is written before an old one is removed


def check_space(folder: Path, model: nn.Module, optimizer: Optimizer) -> None:
    """Refuse to start without space for two checkpoints; files that the start wrote to the folder are removed.

    Args:
        folder: The existing folder of the checkpoints.
        model: Its whole state is saved.
        optimizer: Its momenta count even if they do not exist yet.

    Raises:
        ValueError: the disk has less space; the message gives the free and the required space.
    """
    check_room(folder, checkpoint_bytes(model, optimizer))
    accept_start(folder)


def check_room(folder: Path, size: int) -> None:
    """:func:`check_space` for checkpoints of a known size in bytes."""
    needed, free = CHECKPOINTS * size, shutil.disk_usage(folder).free
    if free < needed:
        undo_start(folder)
        what = f"{free / 1e6:,.1f} MB are free, {CHECKPOINTS} checkpoints need {needed / 1e6:,.1f} MB"
        raise ValueError(f"{folder}: {what}. Make room, or choose another --output")


def checkpoint_bytes(model: nn.Module, optimizer: Optimizer) -> int:
    """The approximate size of a checkpoint: all tensors of the model, and the momenta of the optimiser."""
    momenta = sum(
        (2 if "betas" in group else 1 if group.get("momentum") else 0) * sum(p.nbytes for p in group["params"])
        for group in optimizer.param_groups
    )
    return momenta + sum(tensor.nbytes for tensor in model.state_dict().values())
