"""In a run of mmengine the target moves once a step of the optimiser, before or after it as the setting says."""

from pathlib import Path

import pytest
import torch
from mmengine.hooks import Hook

from gcisg_core.integrations.mmengine import build_runner

from .conftest import TINY

PROJECT = Path(__file__).parents[2] / "projects/classification"
DECAY = 0.9


class Watch(Hook):
    """Keeps the student's weights around each step that changes them; lets something go wrong in the third step."""

    def __init__(self, spoil=None):
        self.spoil, self.weights = spoil, []

    def before_train(self, runner):
        wrapper = runner.optim_wrapper
        wrapper.optimizer.register_step_pre_hook(self.note)
        wrapper.optimizer.register_step_post_hook(self.note)
        self.weight, step = runner.model.backbone.conv1.weight, wrapper.step
        if self.spoil == "overflow":  # a gradient scaler does not let the optimiser step
            wrapper.step = lambda **kwargs: None if runner.iter == 2 else step(**kwargs)
        if self.spoil == "not finite":
            self.weight.register_hook(lambda gradient: gradient / 0 if runner.iter == 2 else gradient)

    def note(self, *_):
        if self.weight.grad is not None:
            self.weights.append(self.weight.detach().clone())


def train(folder, config, overrides, spoil=None):
    settings = [*TINY, "default_hooks.checkpoint.interval=100", *overrides]
    runner, watch = build_runner(PROJECT / f"{config}.py", settings, folder), Watch(spoil)
    runner.register_hook(watch, "LOWEST")
    runner.train()
    return runner.model.regularizer, watch.weights


CASES = {  # what goes wrong or is set -> overrides, and the steps that count of six iterations
    "nothing": ([], 6),
    "accumulation": (["optim_wrapper.accumulative_counts=4"], 2),
    "overflow": ([], 5),
    "not finite": (["custom_hooks.0.on_nonfinite=skip"], 5),
}


@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize("order", ["before_step", "after_step"])
def test_the_target_moves_once_a_step(mini, order, case):
    overrides, steps = CASES[case]
    method = [f"model.regularizer.{setting}" for setting in (f"decay={DECAY}", f"momentum_update={order}")]
    regularizer, weights = train(mini / "run", "gcisg_mini", [*method, *overrides], case)
    before, after = weights[::2], weights[1::2]
    assert len(after) == steps
    expected = before[0]  # the target starts as the student
    for followed in before if order == "before_step" else after:
        expected = DECAY * expected + (1 - DECAY) * followed
    target = regularizer.momentum_encoder.average.module.conv1.weight
    torch.testing.assert_close(target, expected, rtol=1e-5, atol=1e-7)
    assert not torch.allclose(before[0], after[-1], rtol=1e-3)


def test_a_method_that_reads_gradients_survives_an_overflow(mini):
    regularizer, _ = train(mini / "run", "si_mini", [], "overflow")
    assert regularizer.steps == 5
