"""`gcisg eval`."""

from __future__ import annotations

from gcisg_suite.commands.arguments import Config, Flag, Overrides
from gcisg_suite.commands.train import train


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

        gcisg eval --config projects/classification/gcisg_mini.py \\
            --checkpoint work_dirs/gcisg_mini/iter_210.pth

    Args:
        checkpoint: A checkpoint of a training run, with or without the state of the method.
        output: Folder of the results (default: `work_dirs/<config>`).
        amp: Evaluate in mixed precision: float16 on a GPU, bfloat16 on a CPU.
        num_gpus: Number of processes on this machine.
    """
    train(
        *overrides,
        config=config,
        eval_only=True,
        checkpoint=checkpoint,
        output=output,
        amp=amp,
        num_gpus=num_gpus,
    )
