"""What tests run in processes of their own."""

import json
import os
import signal
from pathlib import Path

import gcisg_det  # noqa: F401  repairs Detectron2 0.5 before it is imported

# isort: split
from detectron2.engine import HookBase
from detectron2.utils import comm

from gcisg_core.integrations.detectron2.checkpoints import SafeCheckpointer
from gcisg_det import engine
from tests.detection.scenes import tiny_config, train

POINTER = "regularizer.queues.stage4.pointer"


class Kill(HookBase):
    def __init__(self, at):
        self.at = at

    def before_step(self):
        if self.trainer.iter == self.at:
            end()


def end():
    os.kill(os.getpid(), signal.SIGKILL)


def train_and_compare(args):
    """What `tools/train_net.py` calls in each process; rank 0 writes which tensors are equal on all."""
    train_alone = engine.Trainer.train

    def train_rank(trainer):
        train_alone(trainer)
        states = comm.all_gather({key: value.cpu() for key, value in trainer.model.module.state_dict().items()})
        equal = {key: all(bool((value == state[key]).all()) for state in states) for key, value in states[0].items()}
        if comm.is_main_process():
            report = {"ranks": len(states), "equal": equal, "pointer": int(states[0][POINTER])}
            (Path(args.work_dir) / "ranks.json").write_text(json.dumps(report))

    engine.Trainer.train = train_rank
    engine.run(args)


def resume_until_saved(root, output, name):
    """Resume it; it ends by SIGKILL once a checkpoint has its name, before the log of that step."""
    tag = SafeCheckpointer.tag_last_checkpoint

    def tag_and_end(checkpointer, last):
        tag(checkpointer, last)
        if last.startswith(name):
            end()

    SafeCheckpointer.tag_last_checkpoint = tag_and_end
    train(tiny_config(root, output, config="gcisg_r50_fpn"), resume=True)


def train_until_killed(root, output, kill_at):
    """Train the tiny GCISG detector; it ends by SIGKILL before step `kill_at`."""
    train(tiny_config(root, output, config="gcisg_r50_fpn"), hooks=[Kill(kill_at)])
