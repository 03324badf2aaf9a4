"""A step does not wait for the device: what the host queues may run ahead of it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import pytest
import torch

from gcisg_core.regularizers import METHODS, build_regularizer
from tests.core.students import make_student, make_views, one_step
from tests.methods import settings_of


@contextmanager
def no_waiting(device: str) -> Iterator[None]:
    """On a GPU, whatever makes the host wait is an error. The CPU has nothing to wait for."""
    torch.use_deterministic_algorithms(False)  # some of which wait
    if device == "cuda":
        torch.cuda.set_sync_debug_mode("error")
    try:
        yield
    finally:
        if device == "cuda":
            torch.cuda.set_sync_debug_mode("default")


@pytest.mark.parametrize("method", sorted(METHODS.keys() - {"oracle"}))  # which trains nothing here
def test_a_step_does_not_wait_for_the_device(method, device, tmp_path):
    student = make_student().to(device)
    regularizer = build_regularizer(student, settings_of(method, tmp_path)).to(device)
    trained = [p for p in [*student.parameters(), *regularizer.parameters()] if p.requires_grad]
    optimizer = torch.optim.SGD(trained, lr=0.01, momentum=0.9)
    views = [view.to(device) for view in make_views()]

    def step() -> torch.Tensor:
        losses, _ = one_step(regularizer, views)
        total = sum(losses.values())
        total.backward()
        regularizer.before_optimizer_step()
        optimizer.step()
        optimizer.zero_grad()
        regularizer.after_optimizer_step()
        return total.detach()

    for _ in range(4):  # past the short schedules of tests.methods
        step()
    with no_waiting(device):
        loss = step()
    assert loss.isfinite()
