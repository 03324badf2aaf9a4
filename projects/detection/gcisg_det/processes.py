"""Start a process of a run: join the process group, lock the run's folder on the first rank, train or evaluate."""

from __future__ import annotations

import os
from argparse import Namespace
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist
from torch import nn

from gcisg_core.files import cut_half_line
from gcisg_core.integrations.detectron2.compat import make_local_group
from gcisg_core.launch import rank_timeout
from gcisg_core.ranks import world_size
from gcisg_core.refused_start import restore_texts
from gcisg_core.run_folder import on_first_rank, open_run, release_all


def start(
    args: Namespace, call: Callable[[Namespace], None], folder: Path, settings: Mapping[str, Any], seed: int | None
) -> None:
    """Run `call(args)`, in a process group if torchrun or `--num-gpus` started several processes.

    Args:
        args: The arguments of `gcisg train`; `resume` is set to whether there is a checkpoint to resume from.
        call: The function that trains or evaluates.
        folder: The run's folder.
        settings: The settings that identify the run, without folder and seed.
        seed: The run's seed; None to draw one.

    Raises:
        ValueError: There is no GPU for this process, or the folder holds another run or is in use.
    """
    joined = "LOCAL_RANK" in os.environ and not dist.is_initialized()
    if joined:
        _join()

    def take_folder() -> bool:
        found = open_run(folder, settings, seed, args.seed is not None, world_size(), args.resume, args.fresh)
        cut_half_line(folder / "metrics.json")
        return found is not None

    try:
        if not args.eval_only:
            args = Namespace(**{**vars(args), "resume": on_first_rank(take_folder)})
        call(args)
    finally:
        restore_texts()
        release_all()
    if joined:
        dist.destroy_process_group()


def for_cpu(model: nn.Module) -> None:
    """Replace SyncBatchNorm, which torch has only on GPUs, by BatchNorm2d: each process uses only its own images."""
    for module in model.modules():
        if type(module) is nn.SyncBatchNorm:
            module.__class__ = nn.BatchNorm2d  # type: ignore[assignment]


def _join() -> None:
    """Join the process group and, if there are GPUs, select the one of this process."""
    local, per_machine = (int(os.environ[name]) for name in ("LOCAL_RANK", "LOCAL_WORLD_SIZE"))
    on_gpu = torch.cuda.is_available()
    if on_gpu:
        if local >= torch.cuda.device_count():
            raise ValueError(f"{per_machine} processes on this machine, but it has {torch.cuda.device_count()} GPUs")
        torch.cuda.set_device(local)
    dist.init_process_group("nccl" if on_gpu else "gloo", timeout=rank_timeout())
    make_local_group(per_machine)
