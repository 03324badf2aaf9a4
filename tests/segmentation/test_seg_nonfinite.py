"""A segmentation run that overflows: stopped with a file that runs the step again, or continuing without the step."""

from __future__ import annotations

import math
from pathlib import Path

import pytest
import torch

from gcisg_core.nan.record import load
from gcisg_core.nan.recorder import VERSION, NonFiniteError
from gcisg_suite.replay import report

from .test_seg_methods import PROJECT, STEPS, data, train  # noqa: F401 - a fixture

GCISG = {"method": "gcisg", "patches": (2, 2), "queue_length": 40, "embedding_dim": 8}


def test_a_run_that_diverges_stops_and_its_step_runs_again(data, tmp_path, monkeypatch):  # noqa: F811
    rate = {"optim_wrapper.optimizer.lr": 1e30, "optim_wrapper.clip_grad": None}
    with pytest.raises(NonFiniteError, match=r"decode.loss_ce is nan.*loss_ci_stage3 is nan.* at iteration 1"):
        train(data, tmp_path, monkeypatch, GCISG, **rate)
    file = tmp_path / "run/nonfinite_iter1_rank0.pth"
    record = load(file, VERSION)
    assert len(record["batch"]) == len(record["views"][0]) == 2
    assert all(Path(name).is_file() for name in record["batch"])
    assert "The step is the same" in report(file)


def test_a_finite_loss_is_repeated_and_skip_goes_on(data, tmp_path, monkeypatch):  # noqa: F811
    """Once, in the second step, the gradient of one weight is not finite; the record is of that step."""
    import mmengine.runner

    calls = []

    def poisoned(gradient):
        calls.append(gradient)
        return gradient / 0 if len(calls) == 2 else gradient

    before_train = mmengine.runner.Runner.call_hook

    def plant(runner, name, **kwargs):
        if name == "before_train":
            runner.model.decode_head.conv_seg.weight.register_hook(poisoned)
        before_train(runner, name, **kwargs)

    monkeypatch.setattr(mmengine.runner.Runner, "call_hook", plant)
    runner = train(data, tmp_path, monkeypatch, GCISG, **{"custom_hooks.0.on_nonfinite": "skip"})
    assert len(calls) == runner.iter == STEPS
    assert all(value.isfinite().all() for value in runner.model.state_dict().values())
    assert runner.message_hub.get_scalar("train/skipped_steps").current() == 1
    assert runner.model.regularizer.queues["stage3"].pointer == (STEPS - 1) * 2 * 2 * 4 % 40
    file = tmp_path / "run/nonfinite_iter1_rank0.pth"
    record = load(file, VERSION)
    assert record["gradients"] == ["decode_head.conv_seg.weight"]
    assert all(math.isfinite(value) for value in record["losses"].values())
    torch.manual_seed(5)
    assert "The step is the same" in report(file)
