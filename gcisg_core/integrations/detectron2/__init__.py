"""Detectron2: the method's settings in a config, and the hook that moves the target."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from typing import Any

from detectron2.config import CfgNode
from detectron2.engine import HookBase

from gcisg_core.integrations import safetensors as _safetensors  # noqa: F401 - registers its reader
from gcisg_core.integrations import timm as _timm  # noqa: F401 - registers its guides
from gcisg_core.integrations.detectron2.nan import framework
from gcisg_core.nan.recorder import NonFiniteError, StepRecorder
from gcisg_core.regularizers import read_method

logger = logging.getLogger(f"detectron2.{__name__}")  # goes where the framework logs


def add_regularizer_config(cfg: CfgNode) -> None:
    """Adds the node `REGULARIZER`: `METHOD`, and by their upper-case names the fields of the method's settings.

    The fields and their defaults stay in the dataclasses of :mod:`gcisg_core.regularizers`.
    """
    cfg.REGULARIZER = CfgNode(new_allowed=True)
    # What is added to the task: none, gcisg, csg, ...
    cfg.REGULARIZER.METHOD = "none"


def allow_overrides(cfg: CfgNode, overrides: Sequence[Any]) -> None:
    """Lets `KEY VALUE` overrides set fields that no file has set, or set in another type; later checks see them."""
    for key in overrides[::2]:
        node, _, field = str(key).partition(".")
        if node == "REGULARIZER" and field:
            cfg.REGULARIZER[field] = CfgNode() if field == "STAGE_LOCATIONS" else None
        elif str(key).startswith("MODEL.CHANGES."):
            change, _, argument = str(key).removeprefix("MODEL.CHANGES.").partition(".")
            cfg.MODEL.CHANGES.setdefault(change, CfgNode(new_allowed=True) if argument else None)
            if argument:
                cfg.MODEL.CHANGES[change][argument] = None


def lower_keys(node: CfgNode) -> dict[str, Any]:
    """A node as plain dictionaries, by lower-case names."""
    return {key.lower(): lower_keys(value) if isinstance(value, CfgNode) else value for key, value in node.items()}


def regularizer_values(cfg: CfgNode) -> dict[str, Any]:
    """`cfg.REGULARIZER` as :func:`gcisg_core.regularizers.build_regularizer` takes it.

    Raises:
        ValueError: The method or a field is unknown (the nearest valid name is given), or a value is out of range.
    """
    values = {key.lower(): value for key, value in cfg.REGULARIZER.items()}
    if values.get("stage_locations"):
        values["stage_locations"] = {int(stage): place for stage, place in values["stage_locations"].items()}
    try:
        read_method(values)
    except ValueError as error:
        raise ValueError(f"REGULARIZER (keys are these names in upper case): {error}") from error
    return values


class RegularizerHook(HookBase):
    """Tells the method before and after each step of the optimiser, at one of which its target moves.

    It also records the step in which a loss or gradient is not finite (:mod:`gcisg_core.nan.recorder`), before the
    framework sees it.

    Mixed precision leaves out the steps whose gradients overflowed, so the optimiser itself is asked. It must stand
    before the hook that saves checkpoints.

    Args:
        cfg: The run's, which the record needs; ``None`` takes that of a ``DefaultTrainer``, other trainers have none.
    """

    stepped = False

    def __init__(self, cfg: CfgNode | None = None) -> None:
        self.cfg = cfg

    @property
    def _inner(self) -> Any:
        """The trainer that runs the steps: a ``DefaultTrainer`` hands them to another."""
        return getattr(self.trainer, "_trainer", self.trainer)

    def before_train(self) -> None:
        """Asks the optimiser to tell when it steps, and puts the recorder before the framework's own check.

        Raises:
            ValueError: There is no config.
        """
        cfg = self.cfg if self.cfg is not None else getattr(self.trainer, "cfg", None)
        if cfg is None:
            raise ValueError(f"{type(self.trainer).__name__} has no cfg, which the hook needs: RegularizerHook(cfg)")
        trainer = self._inner
        model = getattr(trainer.model, "module", trainer.model)
        self.recorder = StepRecorder(model, cfg.OUTPUT_DIR, framework(cfg.dump()))
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
        """The trainer's step. The framework's proposal generator raises an error itself."""
        try:
            self.run_step()
        except NonFiniteError:
            raise
        except FloatingPointError as error:
            self.recorder.interrupt(self.trainer.iter, error, self._scale())
            self._tell_skip()

    def _check(self, *args: Any, **kwargs: Any) -> None:
        """In place of the trainer's writing of metrics, which comes between backward pass and step and refuses NaN."""
        scale = self._scale()
        if self.recorder.check(self.trainer.iter, scale):
            self._regularizer().after_backward(scale or 1.0)
            self.write_metrics(*args, **kwargs)
            return
        self._tell_skip()
        if scale is None:
            # The framework's clipping fails where there are no gradients.
            optimizer = self._inner.optimizer
            step = optimizer.step
            optimizer.step = lambda *_, **__: setattr(optimizer, "step", step)

    def _tell_skip(self) -> None:
        logger.warning("Step left out: %s", self.recorder.message)
        self.trainer.storage.put_scalar("skipped_steps", self.recorder.skips, smoothing_hint=False)

    def after_step(self) -> None:
        """Moves the target."""
        if self.stepped:
            self._regularizer().update_target()
            self.stepped = False
