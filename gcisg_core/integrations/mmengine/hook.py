"""mmengine: the hook that calls the method in each step, and records a step that is not finite."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from mmengine.hooks import Hook
from mmengine.registry import HOOKS
from mmengine.runner import IterBasedTrainLoop, Runner

from gcisg_core.disk import check_space
from gcisg_core.integrations import reproducible
from gcisg_core.integrations.mmengine.checkpoints import check_state, unwrap
from gcisg_core.integrations.mmengine.nan import record_steps
from gcisg_core.integrations.mmengine.resume import skip_what_was_read, was_evaluated
from gcisg_core.nan import setting
from gcisg_core.nan.recorder import StepRecorder
from gcisg_core.run_folder import check_run, on_first_rank, run_name


@HOOKS.register_module()
class RegularizerHook(Hook):
    """Calls the method at each optimiser step, and makes each step's randomness depend only on seed and step.

    It also refuses to resume from a checkpoint of another model, which mmengine would load partially, or of another
    run in the same folder; evaluates a resumed run that was stopped in an evaluation; and records a step in which a
    loss or gradient is not finite (:mod:`gcisg_core.nan.recorder`).

    Args:
        on_nonfinite: Action on such a step: ``stop`` the run (the default) or ``skip`` the step.
    """

    priority = "VERY_HIGH"
    recorder: StepRecorder
    stepped = False
    at_end = evaluate_first = False

    def __init__(self, on_nonfinite: str | None = None) -> None:
        setting.check(on_nonfinite, "on_nonfinite of RegularizerHook (custom_hooks)")
        self.on_nonfinite = on_nonfinite

    def before_train(self, runner: Runner) -> None:
        folder, optimizer = Path(runner.work_dir), runner.optim_wrapper.optimizer
        on_first_rank(lambda: check_space(folder, unwrap(runner.model), optimizer))
        loop = runner.train_loop
        # The framework evaluates within a step or an epoch; a run whose last checkpoint is the final one has none left.
        self.at_end = loop.iter >= loop.max_iters or loop.epoch >= loop.max_epochs
        done = loop.iter if isinstance(loop, IterBasedTrainLoop) else loop.epoch
        due = done and done >= loop.val_begin and done % loop.val_interval == 0 and runner.val_loop is not None
        self.evaluate_first = bool(due and not self.at_end) and not on_first_rank(lambda: was_evaluated(folder, done))
        if isinstance(loop, IterBasedTrainLoop):
            skip_what_was_read(loop)
        self.recorder = record_steps(runner, unwrap(runner.model), self.on_nonfinite)
        self.regularizer = unwrap(runner.model).regularizer
        # This hooks into the optimiser: under gradient accumulation not every iteration steps, and mixed precision
        # skips the steps whose gradients overflowed. Inside the step the gradients are unscaled, clipped and the
        # same on all ranks; mmengine clears them after it.
        runner.optim_wrapper.optimizer.register_step_pre_hook(self._before_step)
        runner.optim_wrapper.optimizer.register_step_post_hook(self._note)

    def _before_step(self, *_: Any) -> None:
        if not self.recorder.skipped:  # the optimiser then steps without gradients and changes nothing
            self.regularizer.before_optimizer_step()

    def _note(self, *_: Any) -> None:
        self.stepped = not self.recorder.skipped

    def before_train_epoch(self, runner: Runner) -> None:
        if self.evaluate_first:  # here, because all hooks are initialised by now
            self.evaluate_first = False
            runner.val_loop.run()

    def before_train_iter(self, runner: Runner, batch_idx: int, data_batch: Any = None) -> None:
        reproducible.seed_everything(0, runner.seed, runner.rank, runner.iter)

    def after_train_iter(self, runner: Runner, batch_idx: int, data_batch: Any = None, outputs: Any = None) -> None:
        if self.stepped:
            self.regularizer.after_optimizer_step()
            self.stepped = False

    def after_train(self, runner: Runner) -> None:
        if self.at_end and runner.val_loop is not None:
            runner.val_loop.run()

    def before_save_checkpoint(self, runner: Runner, checkpoint: dict[str, Any]) -> None:
        checkpoint["meta"]["run"] = run_name(Path(runner.work_dir))

    def after_load_checkpoint(self, runner: Runner, checkpoint: dict[str, Any]) -> None:
        if runner._resume:
            folder, file = Path(runner.work_dir), Path(str(runner._load_from))
            check_run(folder, file, checkpoint.get("meta", {}).get("run"))
            check_state(unwrap(runner.model), checkpoint["state_dict"], "the checkpoint to resume from")
