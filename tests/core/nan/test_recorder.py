"""The NaN recorder on plain torch: what it finds, what it leaves as it was, what it writes, on one process and two."""

import math

import pytest
import torch
import torch.distributed as dist
from torch.nn.parallel import DistributedDataParallel

from gcisg_core.nan.record import load
from gcisg_core.nan.recorder import VERSION, NonFiniteError
from tests.core.nan.steps import Run, Task, copied, only_file, poison, views
from tests.processes import on_two_ranks


def test_finite_steps_pass_and_write_nothing(tmp_path):
    run = Run(Task(), tmp_path)
    assert all(run.step(i) for i in range(3))
    assert run.recorder.skips == 0
    assert not list(tmp_path.iterdir())


def test_a_huge_but_finite_gradient_is_no_alarm(tmp_path):
    """The sum of its squares would overflow."""
    task = Task()
    run = Run(task, tmp_path, lr=0)
    task.head.bias.register_hook(lambda gradient: torch.full_like(gradient, 1e30))
    assert run.step()


def test_a_loss_is_named_with_its_stage_and_batch(tmp_path):
    task = Task()
    run = Run(task, tmp_path)
    run.step(0)
    task.regularizer.queues["stage3"].features[0] = math.inf
    message = r"loss_ci_stage3 is nan at iteration 1 \(batch: a.png, b.png\).*gcisg replay .*nonfinite_iter1_rank0.pth"
    with pytest.raises(NonFiniteError, match=message):
        run.step(1)


def test_a_parameter_is_named(tmp_path):
    task = Task()
    run = Run(task, tmp_path)
    poison(task.backbone.layer2[0].conv1.weight)
    with pytest.raises(
        NonFiniteError, match=r"the gradient of backbone.layer2.0.conv1.weight is not finite, all losses"
    ):
        run.step()
    assert load(only_file(tmp_path), VERSION)["gradients"] == ["backbone.layer2.0.conv1.weight"]


def test_the_stage_where_features_stop_being_finite_is_named(tmp_path):
    task = Task(lambda_ci=0.0)
    run = Run(task, tmp_path)
    task.backbone.layer3.register_forward_hook(lambda module, inputs, output: output * math.inf)
    with pytest.raises(NonFiniteError, match=r"the student's features are not finite from stage 3 of view 0 on"):
        run.step()


def test_a_run_that_diverges_is_stopped(tmp_path):
    run = Run(Task(), tmp_path, lr=1e30)
    run.step(0)
    with pytest.raises(NonFiniteError, match=r"loss_task is nan; .*loss_ci_stage3 is nan.* at iteration 1"):
        run.step(1)


def test_a_weight_that_is_not_finite_is_named(tmp_path):
    task = Task()
    run = Run(task, tmp_path)
    run.step(0)
    with torch.no_grad():
        task.backbone.layer1[0].conv1.weight[0, 0, 0, 0] = math.inf
    with pytest.raises(
        NonFiniteError, match=r"; 1 weights were already not finite, the first is backbone.layer1.0.conv1"
    ):
        run.step(1)


@pytest.mark.parametrize("fault", ["loss", "gradient", "first step"])
def test_skip_leaves_everything_as_it_was(tmp_path, fault):
    task = Task()
    run = Run(task, tmp_path, on_nonfinite="skip")
    if fault != "first step":
        run.step(0)
    else:
        task.regularizer.init_from_student()
    before, momentum = copied(task), str(run.optimizer.state_dict())
    handle = poison(task.head.weight) if fault == "gradient" else None
    images = views(1)
    if fault != "gradient":
        images[0][0, 0, 0, 0] = math.nan
    assert not run.step(1, images)
    assert run.recorder.skips == 1
    assert all(torch.equal(value, before[name]) for name, value in task.state_dict().items())
    assert str(run.optimizer.state_dict()) == momentum
    if handle:
        handle.remove()
    assert run.step(2)
    assert not torch.equal(task.head.weight, before["head.weight"])
    assert all(value.isfinite().all() for value in task.state_dict().values())


def test_only_the_first_skip_is_written(tmp_path):
    task = Task()
    run = Run(task, tmp_path, on_nonfinite="skip")
    task.twist = math.inf
    assert [run.step(0), run.step(1)] == [False, False]
    assert "loss_task is inf at iteration 1" in run.recorder.message
    assert only_file(tmp_path).name == "nonfinite_iter0_rank0.pth"
    assert run.recorder.skips == 2


class TestGradientScaler:
    """Mixed precision: the scaler lowers its scale where scaled gradients overflow, which is no fault."""

    def test_an_overflow_is_the_scalers_business(self, tmp_path, device):
        task = Task(lambda_ci=0.0, lambda_guidance=0.0).to(device)
        task.twist = 1e3
        run = Run(task, tmp_path, lr=1e-6, scaler=torch.amp.GradScaler(device, init_scale=2.0**127))
        before = copied(task.head)
        run.step(0)
        assert all(torch.equal(value, before[name]) for name, value in task.head.state_dict().items())
        assert run.scaler.get_scale() == 2.0**126
        for iteration in range(1, 20):
            run.step(iteration)
        assert not torch.equal(task.head.weight, before["weight"])
        assert not list(tmp_path.iterdir())

    def test_at_a_scale_of_one_it_is_a_fault(self, tmp_path, device):
        task = Task().to(device)
        run = Run(task, tmp_path, scaler=torch.amp.GradScaler(device, init_scale=4.0))
        poison(task.head.weight)
        run.step(0)
        run.step(1)
        with pytest.raises(NonFiniteError, match=r"the gradient of head.weight is not finite"):
            run.step(2)
        assert load(only_file(tmp_path), VERSION)["scale"] == 1.0

    def test_a_loss_is_a_fault_at_any_scale_and_its_step_is_left_out(self, tmp_path, device):
        task = Task().to(device)
        scaler = torch.amp.GradScaler(device, init_scale=4.0)
        run = Run(task, tmp_path, scaler=scaler, on_nonfinite="skip")
        run.step(0)
        before = copied(task)
        task.twist = math.inf
        assert not run.step(1)
        assert all(torch.equal(value, before[name]) for name, value in task.state_dict().items())


# Both processes stop or skip: (on_nonfinite, fault of process 1, what the messages say, which processes write).
ON_TWO = [
    ("stop", "loss", ("a loss on another process is not finite", "loss_task is nan"), [1]),
    ("skip", "loss", ("a loss on another process is not finite", "loss_task is nan"), [1]),
    ("stop", "gradient", ("the gradient of head.weight", "the gradient of head.weight"), [0, 1]),
]


def run_rank(rank, folder):
    torch.set_num_threads(1)
    dist.init_process_group("gloo", init_method=f"file://{folder}/meet", rank=rank, world_size=2)
    results = [
        run_case(rank, f"{folder}/{on_nonfinite}_{fault}", on_nonfinite, fault) for on_nonfinite, fault, *_ in ON_TWO
    ]
    torch.save(results, f"{folder}/{rank}.pth")
    dist.destroy_process_group()


def run_case(rank, folder, on_nonfinite, fault):
    task = Task()
    wrapped = DistributedDataParallel(task, broadcast_buffers=False)
    run = Run(task, folder, wrapped=wrapped, on_nonfinite=on_nonfinite)
    run.step(rank)
    images = views(5 + rank)
    if fault == "loss" and rank == 1:
        images[0][0, 0, 0, 0] = math.nan
    if fault == "gradient" and rank == 1:
        poison(task.head.weight)
    weights = copied(task.head)
    try:
        run.step(1, images)
        message = run.recorder.message
    except NonFiniteError as error:
        message = str(error)
    same = all(torch.equal(value, weights[name]) for name, value in task.head.state_dict().items())
    after = run.step(2) if on_nonfinite == "skip" else None
    return {"message": message, "same": same, "after": after, "head": task.head.weight.detach()}


def test_two_processes_stop_or_skip_together(tmp_path):
    on_two_ranks(run_rank, str(tmp_path))
    results = [torch.load(tmp_path / f"{rank}.pth", weights_only=True) for rank in (0, 1)]
    for (on_nonfinite, fault, messages, files), *both in zip(ON_TWO, *results, strict=True):
        for result, message in zip(both, messages, strict=True):
            assert message in result["message"]
            assert result["same"]
        written = (tmp_path / f"{on_nonfinite}_{fault}").glob("nonfinite_iter1_*.pth")
        assert sorted(int(path.stem[-1]) for path in written) == files
        if on_nonfinite == "skip":
            assert all(result["after"] for result in both)
            assert torch.equal(*(result["head"] for result in both))
