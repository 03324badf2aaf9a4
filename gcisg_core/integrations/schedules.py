"""Learning rate schedules that mmengine does not have."""

from __future__ import annotations

from typing import Any

from mmengine.optim.scheduler.lr_scheduler import LRSchedulerMixin
from mmengine.optim.scheduler.param_scheduler import _ParamScheduler
from mmengine.registry import PARAM_SCHEDULERS

from gcisg_core.config import require


@PARAM_SCHEDULERS.register_module()
class WarmupPolyLR(LRSchedulerMixin, _ParamScheduler):
    """Polynomial decay with a short quadratic warm-up: the schedule of the ASG and CSG authors' code.

    Before step t (from 0) each group's own rate is multiplied by

        min(start + (1 - start) (t / warmup)^2, 1) * (1 - min(t / end, hold_after))^power.

    It sets the rates instead of multiplying the current ones, so it must be the only learning-rate scheduler.

    Args:
        optimizer: The optimiser or its wrapper; mmengine gives it.
        end: Number of steps of the whole run.
        power: Exponent of the decay, above 0.
        warmup: Number of warm-up steps; 0 for none.
        start: Factor at step 0, in [0, 1].
        hold_after: Share of the run after which the rate stays constant, in (0, 1]; with 1 it reaches 0.
        **kwargs: Arguments of mmengine's class: ``last_step``, ``verbose`` and ``by_epoch``, which must be False.

    Raises:
        ValueError: An argument is out of range.
    """

    def __init__(
        self,
        optimizer: Any,
        *,
        end: int,
        power: float = 0.9,
        warmup: int = 100,
        start: float = 0.01,
        hold_after: float = 1.0,
        by_epoch: bool = False,
        **kwargs: Any,
    ) -> None:
        require(not by_epoch, "by_epoch", by_epoch, "False: the schedule counts steps")
        require(end > 0, "end", end, "a number of steps above 0")
        require(power > 0, "power", power, "above 0")
        require(warmup >= 0, "warmup", warmup, "at least 0 steps")
        require(0 <= start <= 1, "start", start, "in [0, 1]")
        require(0 < hold_after <= 1, "hold_after", hold_after, "in (0, 1]")
        self.power, self.warmup, self.start, self.hold_after = power, warmup, start, hold_after
        super().__init__(optimizer, end=end, by_epoch=False, **kwargs)

    def factor(self, step: int) -> float:
        """The factor of the rates before a step."""
        rising = min(self.start + (1 - self.start) * (step / self.warmup) ** 2, 1.0) if self.warmup else 1.0
        return rising * (1 - min(step / self.end, self.hold_after)) ** self.power

    def _get_value(self) -> list[float]:
        factor = self.factor(self.last_step)
        return [rate * factor for rate in self.base_values]
