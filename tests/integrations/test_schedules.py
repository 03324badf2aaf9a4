"""The schedules, step by step against their formula."""

import pytest
import torch
from mmengine.registry import PARAM_SCHEDULERS

from gcisg_core.integrations.schedules import WarmupPolyLR


def optimizer():
    layers = torch.nn.Linear(2, 2), torch.nn.Linear(2, 2)
    return torch.optim.SGD(
        [{"params": layers[0].parameters(), "lr": 1e-5}, {"params": layers[1].parameters()}], lr=1e-4
    )


def rates(sgd, scheduler, steps):
    """The rates of both groups before each step."""
    found = []
    for _ in range(steps):
        found.append([group["lr"] for group in sgd.param_groups])
        sgd.step()
        scheduler.step()
    return found


@pytest.mark.parametrize("hold_after", [1.0, 0.8])
def test_rates_are_those_of_the_formula_in_each_group(hold_after):
    sgd = optimizer()
    config = {"type": "WarmupPolyLR", "end": 500, "warmup": 100, "power": 0.9, "hold_after": hold_after}
    found = rates(sgd, PARAM_SCHEDULERS.build(config, default_args={"optimizer": sgd}), 500)
    for step, pair in enumerate(found):
        warm = 0.01 + 0.99 * (step / 100) ** 2 if step < 100 else 1
        left = max(1 - step / 500, 1 - hold_after)
        assert pair == pytest.approx([1e-5 * warm * left**0.9, 1e-4 * warm * left**0.9], rel=1e-12)
    assert found[0] == pytest.approx([1e-7, 1e-6])
    assert (found[499] == found[400]) == (hold_after == 0.8)


def test_a_resumed_run_goes_on_with_the_same_rates():
    sgd = optimizer()
    scheduler = WarmupPolyLR(sgd, end=40, warmup=10)
    expected = rates(sgd, scheduler, 40)
    first = optimizer()
    stopped = WarmupPolyLR(first, end=40, warmup=10)
    rates(first, stopped, 15)
    second = optimizer()
    resumed = WarmupPolyLR(second, end=40, warmup=10)
    resumed.load_state_dict(stopped.state_dict())
    second.load_state_dict(first.state_dict())
    assert rates(second, resumed, 25) == expected[15:]


@pytest.mark.parametrize(
    ("field", "value"),
    [("end", 0), ("power", 0.0), ("warmup", -1), ("start", 1.5), ("hold_after", 0.0), ("by_epoch", True)],
)
def test_impossible_values_are_refused_by_name(field, value):
    with pytest.raises(ValueError, match=field):
        WarmupPolyLR(optimizer(), **{"end": 10, field: value})
