"""`weight_l2` and `si` against forms written parameter by parameter in float64; `si` on two ranks."""

import copy
from pathlib import Path

import pytest
import torch
import torch.distributed as dist
from torch import nn
from torch.nn.parallel import DistributedDataParallel

from gcisg_core.regularizers import build_regularizer
from gcisg_core.weights import as_vector, penalty, pieces, total
from tests.processes import on_two_ranks


class Student(nn.Sequential):
    def __init__(self):
        torch.manual_seed(0)
        super().__init__(nn.Conv2d(3, 4, 3), nn.ReLU(), nn.Conv2d(4, 2, 3))


class Task(nn.Module):
    """A task model with a method beside it, as the projects have it."""

    def __init__(self, settings):
        super().__init__()
        self.backbone = Student().double()
        self.regularizer = build_regularizer(self.backbone, settings).double()

    def forward(self, images):
        losses, _ = self.regularizer.step([images], lambda: {"loss_task": self.backbone(images).square().mean()})
        return losses


def images(step, count=4):
    return torch.rand(count, 3, 8, 8, generator=torch.Generator().manual_seed(step)).double()


def train(model, steps, data=images, clip=None):
    task = getattr(model, "module", model)
    optimizer = torch.optim.SGD(task.parameters(), lr=0.3, momentum=0.9)
    optimizer.register_step_pre_hook(lambda *_: task.regularizer.before_optimizer_step())
    history = []
    for step in range(steps):
        losses = model(data(step))
        optimizer.zero_grad()
        sum(losses.values()).backward()
        task.regularizer.after_backward()
        gradients = {name: p.grad.clone() for name, p in task.backbone.named_parameters()}
        if clip:
            nn.utils.clip_grad_norm_(task.parameters(), clip)
        before = copy.deepcopy(dict(task.backbone.named_parameters()))
        optimizer.step()
        optimizer.zero_grad()  # as mmengine does, before anything is told of the step
        task.regularizer.after_optimizer_step()
        history.append((before, gradients, {name: value.detach() for name, value in losses.items()}))
    return history


@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last])
def test_a_penalty_of_known_gradients_is_the_plain_form_in_value_and_gradient(layout):
    weights = [*Student().double().to(memory_format=layout).parameters()]
    weights[1].requires_grad_(False)  # a frozen one takes no gradient
    anchor = as_vector(weights).detach() + torch.randn(sum(w.numel() for w in weights)).double()
    trained = [weight for weight in weights if weight.requires_grad]
    plain = 0.3 * (as_vector(weights) - anchor).square().sum()
    with torch.no_grad():
        moved = torch._foreach_sub(weights, pieces(anchor, weights))
        value = 0.3 * total(part.square() for part in moved)
    fast = penalty(value, moved, weights, 0.6)
    torch.testing.assert_close(fast, plain, rtol=1e-13, atol=0)
    expected = torch.autograd.grad(5 * plain, trained)
    for _ in range(2):  # a second backward pass finds the same
        for mine, theirs in zip(torch.autograd.grad(5 * fast, trained, retain_graph=True), expected, strict=True):
            torch.testing.assert_close(mine, theirs, rtol=1e-13, atol=1e-15)


def test_si_goes_on_from_its_state():
    """Its metric and its penalty too, which are computed once an interval and once a step."""
    task, other = Task(SI), Task(SI)
    train(task, 4)
    other(images(0))  # a step that was begun before the state came
    other.load_state_dict(task.state_dict())
    for model in (task, other):
        train(model, 1)
    metrics = [model.regularizer.step([images(0)], dict)[1]["si_importance"] for model in (task, other)]
    assert metrics[0] == metrics[1] == task.regularizer.importance.mean() > 0
    assert torch.equal(task.regularizer.path, other.regularizer.path)


def test_weight_l2_is_half_the_squared_distance():
    task = Task({"method": "weight_l2", "lambda_weight_l2": 0.6})
    pretrained = copy.deepcopy(dict(task.backbone.named_parameters()))
    train(task, 2)
    losses = task(images(9))
    expected = 0.0
    for name, parameter in task.backbone.named_parameters():
        for mine, theirs in zip(parameter.flatten().tolist(), pretrained[name].flatten().tolist(), strict=True):
            expected += 0.6 / 2 * (mine - theirs) ** 2
    assert losses["loss_weight_l2"].item() == pytest.approx(expected, rel=1e-12)
    losses["loss_weight_l2"].backward()
    for name, parameter in task.backbone.named_parameters():
        torch.testing.assert_close(parameter.grad, 0.6 * (parameter - pretrained[name]).detach())


@pytest.mark.parametrize(("strength", "clip"), [(0.2, None), (20.0, 0.05)])
def test_si_is_the_path_integral_of_the_tasks_loss_written_out(strength, clip):
    """Three whole intervals of three steps and a part of the next; the task's gradient is taken from a copy."""
    task = Task({"method": "si", "lambda_si": strength, "damping": 0.001, "interval": 3})
    history = train(task, 10, clip=clip)
    final = dict(task.backbone.named_parameters())
    copied = copy.deepcopy(task.backbone)
    gradients = []
    for step, (before, _, _) in enumerate(history):
        copied.load_state_dict(before)
        copied.zero_grad()
        copied(images(step)).square().mean().backward()
        gradients.append({name: p.grad.clone() for name, p in copied.named_parameters()})
    expected, clamped, lost = 0.0, 0, 0
    for name in final:
        positions = [before[name] for before, _, _ in history] + [final[name]]
        importance = torch.zeros_like(final[name])
        for start in (0, 3, 6):
            path = torch.zeros_like(final[name])
            for step in range(start, start + 3):
                path -= gradients[step][name] * (positions[step + 1] - positions[step])
            earned = path / ((positions[start + 3] - positions[start]) ** 2 + 0.001)
            clamped += int((importance + earned < 0).sum())
            lost += int(((earned < 0) & (importance > 0)).sum())
            importance = (importance + earned).clamp(min=0)
        expected += strength * (importance * (final[name] - positions[0]) ** 2).sum().item()
    assert lost > 0  # the sum is clamped, and not each interval
    if strength == 20.0:
        assert clamped > 0
        assert any((gradients[-1][name] - history[-1][1][name]).norm() > 1e-3 for name in final)  # the penalty pulls
    assert task(images(9))["loss_si"].item() == pytest.approx(expected, rel=1e-10)
    assert history[2][2]["loss_si"] == 0  # nothing before the first interval ends
    assert history[3][2]["loss_si"] > 0


def test_si_reads_scaled_gradients_and_a_step_left_out_for_overflow_adds_nothing():
    task, scaled = Task(SI), Task(SI)
    for model, scale in ((task, 1.0), (scaled, 1024.0)):
        for step in range(3):
            (scale * sum(model(images(step)).values())).backward()
            model.regularizer.after_backward(scale)
            with torch.no_grad():
                for parameter in model.backbone.parameters():
                    parameter -= 0.1 * parameter.grad / scale
            model.zero_grad()
            model.regularizer.after_optimizer_step()
    assert task.regularizer.path.abs().max() > 0
    torch.testing.assert_close(scaled.regularizer.path, task.regularizer.path)
    before = task.regularizer.path.clone()
    (torch.inf * task(images(3))["loss_task"]).backward()
    task.regularizer.after_backward()
    task.regularizer.after_optimizer_step()
    assert torch.equal(task.regularizer.importance.isfinite(), torch.ones_like(before, dtype=torch.bool))


@pytest.mark.parametrize("settings", [{"method": "weight_l2"}, {"method": "si", "interval": 2}])
def test_weights_may_lie_channels_last(settings):
    ends = []
    for layout in (torch.contiguous_format, torch.channels_last):
        model = Task(settings).to(memory_format=layout)
        train(model, 4)
        ends.append(torch.cat([parameter.detach().reshape(-1) for parameter in model.backbone.parameters()]))
    torch.testing.assert_close(*ends)


def test_si_without_its_hook_says_so():
    task = Task({"method": "si"})
    task(images(0))
    with pytest.raises(ValueError, match=r"before_optimizer_step\(\).*RegularizerHook"):
        task.regularizer.after_optimizer_step()


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"method": "weight_l2", "lambda_weight_l2": -1.0}, "lambda_weight_l2 must be at least 0"),
        ({"method": "si", "damping": 0.0}, "damping must be above 0"),
        ({"method": "si", "interval": 0}, "interval must be at least 1"),
        ({"method": "si", "xi": 0.1}, "unknown setting 'xi'"),
    ],
)
def test_wrong_settings_are_named(settings, message):
    with pytest.raises(ValueError, match=message):
        Task(settings)


SI = {"method": "si", "interval": 2, "lambda_si": 1.0}


def run_rank(rank: int, folder: str) -> None:
    torch.set_num_threads(1)
    dist.init_process_group("gloo", init_method=f"file://{folder}/meet", rank=rank, world_size=2)
    model = DistributedDataParallel(Task(SI))
    train(model, 5, lambda step: images(step)[2 * rank : 2 * rank + 2])
    torch.save(model.module.state_dict(), Path(folder) / f"{rank}.pth")
    dist.destroy_process_group()


def test_si_on_two_ranks_is_si_on_one_with_the_doubled_batch(tmp_path):
    on_two_ranks(run_rank, str(tmp_path))
    first, second = (torch.load(tmp_path / f"{rank}.pth", weights_only=True) for rank in (0, 1))
    alone = Task(SI)
    train(alone, 5)
    assert first["regularizer.importance"].max() > 0
    for name, value in alone.state_dict().items():
        assert torch.equal(first[name], second[name]), name
        torch.testing.assert_close(first[name], value, rtol=1e-8, atol=1e-10)
