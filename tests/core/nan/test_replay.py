"""A recorded step run again on plain torch."""

import math
from contextlib import nullcontext

import pytest
import torch

from gcisg_core.nan.record import load
from gcisg_core.nan.recorder import VERSION, NonFiniteError
from gcisg_core.nan.replay import replay
from tests.core.nan.steps import PLAIN, Run, Task, only_file, poison, views


@pytest.mark.parametrize("sequential_enqueue", [False, True])
def test_the_replay_gives_the_same_losses(tmp_path, sequential_enqueue):
    """Inputs, random numbers, BatchNorm's statistics, target and queues are those of the step's start."""
    task = Task(sequential_enqueue=sequential_enqueue)
    run = Run(task, tmp_path)
    run.step(0)
    run.step(1)
    poison(task.head.weight)
    with pytest.raises(NonFiniteError):
        run.step(2)
    record = load(only_file(tmp_path), VERSION)
    fresh = Task(sequential_enqueue=sequential_enqueue)
    torch.manual_seed(99)
    again = replay(record, fresh, PLAIN, nullcontext())
    assert again.losses == record["losses"]
    assert again.repeats(record)
    assert not again.gradients  # nothing poisons them here
    assert again.statistics == record["statistics"]
    assert record["statistics"]["queues.stage4"]["pointer"] == 3 * 8
    assert all(torch.equal(a, b) for a, b in zip(record["views"], views(2), strict=True))


def test_the_replay_finds_the_first_module(tmp_path):
    task = Task()
    run = Run(task, tmp_path)
    run.step(0)
    with torch.no_grad():
        task.backbone.layer3[0].conv1.weight[0, 0, 0, 0] = math.nan
    with pytest.raises(NonFiniteError):
        run.step(1)
    record = load(only_file(tmp_path), VERSION)
    again = replay(record, Task(), PLAIN, nullcontext())
    assert again.origin == "backbone.layer3.0.conv1"
    assert again.repeats(record)
    assert math.isnan(again.losses["loss_task"])
    assert again.statistics["features, view 0, stage 3"]["nonfinite"] > 0
