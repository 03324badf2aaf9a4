"""Detectron2: the hook that runs the method's part of a step, and records a step that is not finite."""

from __future__ import annotations

import logging
from typing import Any

import torch
from detectron2.config import CfgNode
from detectron2.engine import HookBase

from gcisg_core.integrations.detectron2.config import hook_values
from gcisg_core.integrations.detectron2.nan import framework
from gcisg_core.nan.recorder import NonFiniteError, StepRecorder

logger = logging.getLogger(f"detectron2.{__name__}")  # a child of the framework's logger


class RegularizerHook(HookBase):
    """Calls the method before and after each optimiser step, for example to update the momentum encoder.

    It also records a step in which a loss or gradient is not finite (:mod:`gcisg_core.nan.recorder`), before the
    framework's check; `REGULARIZER.HOOK.ON_NONFINITE` is the action: `stop` (the default) or `skip`.

    It hooks into the optimiser, because mixed precision skips steps whose gradients overflowed. It must come before
    the hook that saves checkpoints.

    Args:
        cfg: The run's config, for the record; ``None`` takes that of a ``DefaultTrainer``; other trainers have none.
    """

    stepped = False

    def __init__(self, cfg: CfgNode | None = None) -> None:
        self.cfg = cfg

    @property
    def _inner(self) -> Any:
        """The trainer that runs the steps; a ``DefaultTrainer`` delegates them to another one."""
        return getattr(self.trainer, "_trainer", self.trainer)

    def before_train(self) -> None:
        """Hook into the optimiser's steps, and install the recorder before the framework's check.

        Raises:
            ValueError: There is no config.
        """
        cfg = self.cfg if self.cfg is not None else getattr(self.trainer, "cfg", None)
        if cfg is None:
            raise ValueError(f"{type(self.trainer).__name__} has no cfg, which the hook needs: RegularizerHook(cfg)")
        trainer = self._inner
        model = getattr(trainer.model, "module", trainer.model)
        self.recorder = StepRecorder(model, cfg.OUTPUT_DIR, framework(cfg.dump(), "LAZY" in cfg), **hook_values(cfg))
        self.write_metrics, trainer._write_metrics = trainer._write_metrics, self._check
        self.run_step, trainer.run_step = trainer.run_step, self._run_step
        # An optimiser with gradient clipping calls these twice a step, the second time with the clipped gradients.
        trainer.optimizer.register_step_pre_hook(lambda *_: self._regularizer().before_optimizer_step())
        trainer.optimizer.register_step_post_hook(self._note)

    def _regularizer(self) -> Any:
        return getattr(self.trainer.model, "module", self.trainer.model).regularizer

    def _note(self, *_: Any) -> None:
        self.stepped = True

    def _scale(self) -> float | None:
        scaler = getattr(self._inner, "grad_scaler", None)
        return scaler.get_scale() if scaler is not None and scaler.is_enabled() else None

    def _run_step(self) -> None:
        """Run the trainer's step. The framework's proposal generator raises its own error for non-finite values."""
        try:
            self.run_step()
        except NonFiniteError:
            raise
        except FloatingPointError as error:
            self.recorder.interrupt(self.trainer.iter, error, self._scale())
            self._tell_skip()

    def _check(self, *args: Any, **kwargs: Any) -> None:
        """Replaces the trainer's writing of metrics, which comes between backward pass and step and rejects NaN."""
        scale = self._scale()
        if self.recorder.check(self.trainer.iter, scale):
            self._regularizer().after_backward(scale or 1.0)
            self.write_metrics(*args, **kwargs)
            self._log()
            return
        self._tell_skip()
        if scale is None:
            # The framework's clipping fails without gradients.
            optimizer = self._inner.optimizer
            step = optimizer.step
            optimizer.step = lambda *_, **__: setattr(optimizer, "step", step)

    def _log(self) -> None:
        """Put the method's metrics into the event storage; only here, because reading them waits for the device."""
        model = getattr(self.trainer.model, "module", self.trainer.model)
        metrics = getattr(model, "regularizer_metrics", {})
        if metrics:
            values = torch.stack([value.float() for value in metrics.values()]).tolist()
            named = {f"regularizer/{name}": value for name, value in zip(metrics, values, strict=True)}
            self.trainer.storage.put_scalars(**named)

    def _tell_skip(self) -> None:
        logger.warning("Step skipped: %s", self.recorder.message)
        self.trainer.storage.put_scalar("skipped_steps", self.recorder.skips, smoothing_hint=False)

    def after_step(self) -> None:
        """Let the method follow the student."""
        if self.stepped:
            self._regularizer().after_optimizer_step()
            self.stepped = False
