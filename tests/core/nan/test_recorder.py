"""The NaN recorder on plain torch: what it finds, what it leaves as it was, what it writes, on one process and two."""

import math
import random
from contextlib import nullcontext
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.distributed as dist
import torch.multiprocessing as mp
from torch import nn
from torch.nn.parallel import DistributedDataParallel

from gcisg_core.integrations.reproducible import random_state, set_random_state
from gcisg_core.nan.record import load, plain, restore, save, statistics
from gcisg_core.nan.recorder import VERSION, Framework, NonFiniteError, StepRecorder
from gcisg_core.nan.replay import replay
from gcisg_core.problems import DataError
from gcisg_core.regularizers import build_regularizer
from gcisg_suite.miniature.network import MiniResNet

PLAIN = Framework("plain", {}, random_state, set_random_state, repr, dict, lambda args, kwargs: ["a.png", "b.png"])


class Task(nn.Module):
    """GCISG on the miniature's network (BatchNorm, queues); `twist` is multiplied with the task's loss."""

    def __init__(self, on_nonfinite="stop", **settings):
        super().__init__()
        torch.manual_seed(0)
        self.backbone, self.head = MiniResNet(num_classes=3), nn.Linear(3, 1)
        values = {"method": "gcisg", "queue_length": 40, "embedding_dim": 8, "on_nonfinite": on_nonfinite, **settings}
        self.regularizer = build_regularizer(self.backbone, values)
        self.twist = 1.0

    def forward(self, views):
        noise = torch.rand(()) + random.random() + np.random.rand()
        return self.regularizer.step(views, lambda: {"loss_task": self._task(views[0]) * self.twist * noise})[0]

    def _task(self, images):
        return self.head(self.backbone(images)).square().mean()


def views(seed=0):
    return [torch.rand(4, 3, 32, 32, generator=torch.Generator().manual_seed(seed + i)) for i in range(2)]


class Run:
    """A training loop as the frameworks have it."""

    def __init__(self, task, folder, lr=0.01, scaler=None, wrapped=None):
        self.task, self.model, self.scaler = task, wrapped or task, scaler
        self.recorder = StepRecorder(task, folder, PLAIN)
        self.optimizer = torch.optim.SGD([p for p in task.parameters() if p.requires_grad], lr, 0.9, weight_decay=0.1)

    def step(self, iteration=0, images=None):
        self.optimizer.zero_grad()
        total = sum(self.model(views(iteration) if images is None else images).values())
        (self.scaler.scale(total) if self.scaler else total).backward()
        going_on = self.recorder.check(iteration, self.scaler.get_scale() if self.scaler else None)
        self.task.regularizer.before_optimizer_step()
        if self.scaler:
            self.scaler.step(self.optimizer)
            self.scaler.update()
        else:
            self.optimizer.step()
        if going_on:
            self.task.regularizer.update_target()
        return going_on


def poison(parameter):
    """From now on its gradient is not finite."""
    return parameter.register_hook(lambda gradient: gradient / 0)


def copied(module):
    return {name: value.clone() for name, value in module.state_dict().items()}


def only_file(folder):
    (file,) = Path(folder).glob("nonfinite_*.pth")
    return file


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
        NonFiniteError, match=r"; 1 weights are not finite already, the first is backbone.layer1.0.conv1"
    ):
        run.step(1)


@pytest.mark.parametrize("in_turn", [False, True])
def test_the_replay_gives_the_same_losses(tmp_path, in_turn):
    """Inputs, random numbers, BatchNorm's statistics, target and queues are those of the step's start."""
    task = Task(in_turn=in_turn)
    run = Run(task, tmp_path)
    run.step(0)
    run.step(1)
    poison(task.head.weight)
    with pytest.raises(NonFiniteError):
        run.step(2)
    record = load(only_file(tmp_path), VERSION)
    fresh = Task(in_turn=in_turn)
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


@pytest.mark.parametrize("fault", ["loss", "gradient", "first step"])
def test_skip_leaves_everything_as_it_was(tmp_path, fault):
    task = Task("skip")
    run = Run(task, tmp_path)
    if fault != "first step":
        run.step(0)
    else:
        task.regularizer.capture_pretrained()
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
    task = Task("skip")
    run = Run(task, tmp_path)
    task.twist = math.inf
    assert [run.step(0), run.step(1)] == [False, False]
    assert "loss_task is inf at iteration 1" in run.recorder.message
    assert only_file(tmp_path).name == "nonfinite_iter0_rank0.pth"
    assert run.recorder.skips == 2


class TestGradientScaler:
    """Mixed precision: the scaler lowers its scale where scaled gradients overflow, which is no fault."""

    def test_an_overflow_is_the_scalers_business(self, tmp_path):
        task = Task(lambda_ci=0.0, lambda_guidance=0.0)
        task.twist = 1e3
        run = Run(task, tmp_path, lr=1e-6, scaler=torch.amp.GradScaler("cpu", init_scale=2.0**127))
        before = copied(task.head)
        run.step(0)
        assert all(torch.equal(value, before[name]) for name, value in task.head.state_dict().items())
        assert run.scaler.get_scale() == 2.0**126
        for iteration in range(1, 20):
            run.step(iteration)
        assert not torch.equal(task.head.weight, before["weight"])
        assert not list(tmp_path.iterdir())

    def test_at_a_scale_of_one_it_is_a_fault(self, tmp_path):
        task = Task()
        run = Run(task, tmp_path, scaler=torch.amp.GradScaler("cpu", init_scale=4.0))
        poison(task.head.weight)
        run.step(0)
        run.step(1)
        with pytest.raises(NonFiniteError, match=r"the gradient of head.weight is not finite"):
            run.step(2)
        assert load(only_file(tmp_path), VERSION)["scale"] == 1.0

    def test_a_loss_is_a_fault_at_any_scale_and_its_step_is_left_out(self, tmp_path):
        task = Task("skip")
        run = Run(task, tmp_path, scaler=torch.amp.GradScaler("cpu", init_scale=4.0))
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
    task = Task(on_nonfinite)
    run = Run(task, folder, wrapped=DistributedDataParallel(task, broadcast_buffers=False))
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
    mp.spawn(run_rank, args=(str(tmp_path),), nprocs=2)
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


def test_records_come_back_as_they_were(tmp_path):
    value = {"a": [1, 2.5, None, True, (torch.ones(2), "x")], "b": {3: np.float64(2), "c": np.arange(3)}, "o": {1, 2}}
    packed = plain(value, repr)
    assert packed["b"] == {3: 2.0, "c": [0, 1, 2]}
    assert packed["o"] == "{1, 2}"
    save({"version": VERSION, "value": packed}, tmp_path / "record.pth")
    again = restore(load(tmp_path / "record.pth", VERSION)["value"], dict)
    assert again["a"][:4] == [1, 2.5, None, True]
    assert torch.equal(again["a"][4][0], torch.ones(2))


def test_a_wrong_file_is_named(tmp_path):
    (tmp_path / "text.pth").write_text("no record")
    with pytest.raises(DataError, match=r"text.pth: cannot be read as a record of a step"):
        load(tmp_path / "text.pth", VERSION)
    torch.save({"state_dict": {}}, tmp_path / "other.pth")
    with pytest.raises(DataError, match=r"other.pth: version None, expected a record of version 1"):
        load(tmp_path / "other.pth", VERSION)


def test_statistics_are_those_of_the_finite_values():
    found = statistics(torch.tensor([[1.0, 3.0], [math.inf, math.nan]]))
    assert found == {"shape": [2, 2], "nonfinite": 2, "min": 1.0, "mean": 2.0, "max": 3.0, "std": 1.0}
    assert statistics(torch.tensor([math.nan])) == {"shape": [1], "nonfinite": 1}


def test_the_setting_is_checked():
    with pytest.raises(ValueError, match="on_nonfinite must be 'stop' or 'skip', got 'ignore'"):
        Task("ignore")


def test_the_generators_states_come_back():
    state = random_state()
    draw = partial(lambda: (random.random(), np.random.rand(), torch.rand(()).item()))
    first = draw()
    set_random_state(plain(state, repr))
    assert draw() == first
