"""`gcisg eval`."""

from __future__ import annotations

from argparse import Namespace

from gcisg_suite.commands.arguments import Config, Flag, Overrides, config_file
from gcisg_suite.commands.train import run


def evaluate(
    *overrides: Overrides,
    config: Config,
    checkpoint: str,
    output: str | None = None,
    amp: Flag = False,
    num_gpus: int = 1,
) -> None:
    """Evaluate a checkpoint on the test data of its config.

    For example:

        gcisg eval --config projects/classification/gcisg_mini.py --checkpoint work_dirs/gcisg_mini/iter_300.pth

    Args:
        checkpoint: Of training, with or without what the method keeps beside the model.
        output: Where results go (work_dirs/<config> by default).
        amp: Mixed precision: float16 on a GPU, bfloat16 on a CPU.
        num_gpus: Processes on this machine.
    """
    run(
        Namespace(
            config=config_file(config),
            resume=False,
            fresh=False,
            eval_only=True,
            checkpoint=checkpoint,
            seed=None,
            work_dir=output,
            amp=amp,
            num_gpus=num_gpus,
            num_machines=1,
            machine_rank=0,
            dist_url="auto",
            overrides=list(overrides),
        )
    )
