"""mmengine: checkpoints ranked as they are written. Imports happen on use."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

from mmengine.hooks import Hook
from mmengine.registry import HOOKS
from mmengine.runner import Runner


@HOOKS.register_module()
class SelectionHook(Hook):
    """Evaluates each checkpoint for its choice, if the config's `selection.every_checkpoint` says so; on one process.

    After training the ranking goes to the log.
    """

    priority = "LOWEST"  # after the hook that writes checkpoints

    def before_train(self, runner: Runner) -> None:
        self.seen = runner.message_hub.runtime_info.get("last_ckpt")  # of a resumed run
        self.selector: Any = None
        if (runner.cfg.get("selection") or {}).get("every_checkpoint") and runner.rank == 0:
            from gcisg_suite.selection.during_training import Selector

            device = next(runner.model.parameters()).device
            self.selector = Selector(Path(runner.work_dir), copy.deepcopy(runner.cfg), str(device))

    def after_train_iter(self, runner: Runner, batch_idx: int, data_batch: Any = None, outputs: Any = None) -> None:
        written = runner.message_hub.runtime_info.get("last_ckpt")
        if self.selector is not None and written != self.seen:
            self.seen = written
            self.selector.evaluate()

    def after_train(self, runner: Runner) -> None:
        if self.selector is not None:
            runner.logger.info("Checkpoints:\n%s", self.selector.report())
