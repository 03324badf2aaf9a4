"""Trains the tiny detector and ends by SIGKILL in the middle: `train_once.py ROOT OUTPUT KILL_AT`."""

import os
import signal
import sys
from pathlib import Path

import gcisg_det  # noqa: F401  repairs Detectron2 0.5 before it is imported

# isort: split
from detectron2.engine import HookBase

from tests.detection.scenes import tiny_config, train


class Kill(HookBase):
    def __init__(self, at):
        self.at = at

    def before_step(self):
        if self.trainer.iter == self.at:
            os.kill(os.getpid(), signal.SIGKILL)


if __name__ == "__main__":
    root, output, kill_at = sys.argv[1:]
    train(tiny_config(Path(root), Path(output)), hooks=[Kill(int(kill_at))])
