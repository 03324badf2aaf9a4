"""Every method makes a step in every task and precision, on the CPU and, where there is one, on a GPU."""

from __future__ import annotations

import pytest
import torch

from benchmarks._tasks import MINIATURES, TASKS, Trainer
from gcisg_core.regularizers import METHODS
from tests.methods import settings_of


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("task", TASKS)
def test_a_step_in_each_precision_trains_what_the_method_trains(task, method, device, tmp_path):
    config, size = MINIATURES[task]
    settings = settings_of(method, tmp_path)
    torch.manual_seed(0)
    step = TASKS[task](config.format("baseline"), size, device, settings)
    parameters = [*step.backbone.parameters()]
    for dtype in (None, torch.bfloat16, torch.float16):
        before = [parameter.detach().clone() for parameter in parameters]
        loss = Trainer(step, dtype, lr=1e-3, scale=2.0**4)()
        assert loss.isfinite()
        assert loss.dtype is torch.float32
        assert all(parameter.isfinite().all() for parameter in parameters)
        moved = any(not torch.equal(*pair) for pair in zip(before, parameters, strict=True))
        assert moved == (method != "oracle"), dtype
    beside = [*step.model.regularizer.parameters(), *step.model.regularizer.buffers()]
    assert {tensor.device.type for tensor in beside} == {device}
