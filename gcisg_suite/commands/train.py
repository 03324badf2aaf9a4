"""`gcisg train`."""

from __future__ import annotations

import os
from argparse import Namespace
from typing import Annotated

from cyclopts import Parameter

from gcisg_core.trackers import check_trackers
from gcisg_suite.commands.arguments import Config, Flag, Overrides, UsageError, check_at_least, check_file, config_file
from gcisg_suite.progress import loading
from gcisg_suite.tasks import framework_of


def train(
    *overrides: Overrides,
    config: Config,
    resume: Flag = False,
    fresh: Flag = False,
    eval_only: Flag = False,
    checkpoint: str | None = None,
    seed: int | None = None,
    output: Annotated[str | None, Parameter(name=["--output", "--work-dir"])] = None,
    amp: Flag = False,
    num_gpus: int = 1,
    num_machines: int = 1,
    machine_rank: int = 0,
    dist_url: str = "auto",
    tracker: list[str] | None = None,
) -> None:
    """Train or evaluate any config, the projects' or your own.

    A .py config runs on mmengine, a .yaml config or a LazyConfig (.py) on Detectron2. For example:

        gcisg train --config projects/classification/gcisg_mini.py
        gcisg train --config projects/classification/gcisg_mini.py \\
            train_cfg.max_iters=100
        gcisg train --config projects/detection/gcisg_mini.yaml SOLVER.MAX_ITER 100

    Args:
        resume: Continue from the newest checkpoint in the output folder.
        fresh: Move an earlier run in the output folder aside and start from the beginning.
        eval_only: Only evaluate --checkpoint, like `gcisg eval`.
        checkpoint: The checkpoint for --eval-only.
        seed: The random seed (default: the config's).
        output: Folder of the results (default: `work_dirs/<config>`).
        amp: Train in mixed precision: float16 on a GPU, bfloat16 on a CPU.
        num_gpus: Number of processes on this machine, one for each GPU. Or start them with `torchrun -m gcisg_suite
            train`.
        num_machines: Number of machines; run the same command on each, with a different --machine-rank.
        machine_rank: Number of this machine, from 0.
        dist_url: Address at which the machines connect: `tcp://<address of machine 0>:<free port>`.
        tracker: Also report to tensorboard, wandb or mlflow (mmengine also: clearml, neptune, dvclive, aim). Repeat it
            for several trackers (docs/start.md).
    """
    run(
        Namespace(
            config=config_file(config),
            resume=resume,
            fresh=fresh,
            eval_only=eval_only,
            checkpoint=checkpoint,
            seed=seed,
            work_dir=output,
            amp=amp,
            num_gpus=num_gpus,
            num_machines=num_machines,
            machine_rank=machine_rank,
            dist_url=dist_url,
            trackers=tracker or [],
            overrides=list(overrides),
        )
    )


def run(args: Namespace) -> None:
    """Check the arguments and hand them to the config's framework, in several processes if it starts none itself."""
    if args.fresh and args.resume:
        raise UsageError("--fresh and --resume cannot be combined")
    if args.eval_only and not args.checkpoint:
        raise UsageError("--eval-only needs --checkpoint FILE")
    if args.eval_only and args.trackers:
        raise UsageError("--tracker is for training; leave it out with --eval-only")
    check_file("--checkpoint", args.checkpoint)
    check_at_least("--num-gpus", args.num_gpus)
    check_at_least("--num-machines", args.num_machines)
    framework = framework_of(args.config)
    check_trackers(args.trackers, framework.trackers)
    with loading(framework.name.partition("_")[0]):
        from gcisg_core.launch import Machines, first_rank_speaks, launch

        call = framework.door("train")
    machines = Machines(args.num_machines, args.machine_rank, args.dist_url)
    several = args.num_gpus > 1 or machines.number > 1
    if "LOCAL_RANK" in os.environ:
        if several:
            raise UsageError("torchrun sets the number of processes: leave out --num-gpus and --num-machines")
    elif several:
        launch(call, args.num_gpus, args, machines=machines)
        return
    with first_rank_speaks():
        call(args)
