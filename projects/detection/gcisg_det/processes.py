"""A run's processes: its folder is taken, they are started, and what goes wrong in one is said once."""

from __future__ import annotations

from argparse import Namespace
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import Any

from detectron2.engine import launch

from gcisg_core.integrations.detectron2.compat import repair_launch
from gcisg_core.launch import rank_timeout, run_rank, said_once
from gcisg_core.run_folder import open_run, release_all


def start(
    args: Namespace, call: Callable[[Namespace], None], folder: Path, settings: Mapping[str, Any], seed: int | None
) -> None:
    """Run `call(args)` in the processes of `--num-gpus` and `--num-machines`.

    Args:
        args: Those of `gcisg train`; `resume` becomes whether there is a checkpoint to go on from.
        call: A function of a module, as it is sent to each process.
        folder: The run's.
        settings: What makes it this run, without its folder and seed.
        seed: The run's, None for a random one.

    Raises:
        ValueError: The machines cannot meet, or the folder holds another run or is in use.
    """
    ranks = args.num_gpus * args.num_machines
    if args.num_machines > 1 and args.dist_url == "auto":
        raise ValueError("--dist-url auto works on one machine; give tcp://<address of machine 0>:<free port>")
    if not args.eval_only and args.machine_rank == 0:  # others meet this one before they look at the folder
        checkpoint = open_run(folder, settings, seed, args.seed is not None, ranks, args.resume, args.fresh)
        args = Namespace(**{**vars(args), "resume": checkpoint is not None})
    repair_launch()
    try:
        if ranks == 1:
            call(args)
            return
        machines = (args.num_machines, args.machine_rank, args.dist_url)
        with said_once():
            launch(run_rank, args.num_gpus, *machines, args=(partial(call, args),), timeout=rank_timeout())
    finally:
        release_all()
