import copy
import io
from functools import partial

import pytest
import torch
from torch import nn

from gcisg_core.regularizers import METHODS, build_regularizer, is_term
from gcisg_core.regularizers.base import WARN_AFTER_STEPS
from tests.core.students import make_student, make_views, one_step
from tests.methods import settings_of


def head_loss(student, head, view):
    return {"loss_task": head(student(view)).mean()}


class TestNone:
    def test_adds_nothing(self):
        student = make_student()
        losses, metrics = one_step(build_regularizer(student, {"method": "none"}), make_views(1))
        assert losses.keys() == {"loss_task"}
        assert not metrics


class TestOracle:
    def test_trains_neither_parameters_nor_statistics(self):
        student = make_student()
        oracle = build_regularizer(student, {"method": "oracle"})
        before = copy.deepcopy(student.state_dict())
        head = nn.Linear(192, 2)
        student.fc = nn.Identity()
        student.train()
        view = make_views(1)
        losses, _ = oracle.step(view, lambda: {"loss_task": head(student(view[0])).mean()})
        losses["loss_task"].backward()
        assert head.weight.grad.abs().sum() > 0
        assert all(parameter.grad is None for parameter in student.parameters())
        assert all(torch.equal(value, before[name]) for name, value in student.state_dict().items())


@pytest.mark.parametrize("method", METHODS)
class TestEveryMethod:
    def test_trains_resumes_and_goes_on_bit_for_bit(self, method, tmp_path, device):
        def train(regularizer, head, optimizer, steps):
            for step in steps:
                torch.manual_seed(step)
                views = [torch.rand(4, 3, 32, 32).to(device) for _ in range(2)]
                task = partial(head_loss, regularizer.student, head, views[0])
                losses, _ = regularizer.step(views, task)
                optimizer.zero_grad()
                sum(losses.values()).backward()
                regularizer.before_optimizer_step()
                optimizer.step()
                regularizer.after_optimizer_step()

        def build(seed):
            student = make_student(seed)
            regularizer = build_regularizer(student, settings_of(method, tmp_path))
            whole = nn.ModuleDict({"student": student, "head": nn.Linear(5, 2), "regularizer": regularizer}).to(device)
            return whole, torch.optim.SGD(whole.parameters(), lr=0.01, momentum=0.9)

        whole, optimizer = build(0)
        train(whole["regularizer"], whole["head"], optimizer, range(3))
        kept = io.BytesIO()
        torch.save([whole.state_dict(), optimizer.state_dict()], kept)
        train(whole["regularizer"], whole["head"], optimizer, range(3, 6))

        resumed, optimizer = build(1)
        kept.seek(0)
        for part, state in zip((resumed, optimizer), torch.load(kept, weights_only=True), strict=True):
            part.load_state_dict(state)
        train(resumed["regularizer"], resumed["head"], optimizer, range(3, 6))
        for name, value in whole.state_dict().items():
            assert torch.equal(value, resumed.state_dict()[name]), name

    def test_the_pretrained_weights_are_captured_once_and_not_on_resume(self, method, tmp_path):
        regularizer = build_regularizer(make_student(), settings_of(method, tmp_path))
        # Weights are loaded after the model is built, as the frameworks do.
        regularizer.student.load_state_dict(make_student(7).state_dict())
        one_step(regularizer)
        assert regularizer.captured
        before = copy.deepcopy(regularizer.state_dict())
        with torch.no_grad():
            regularizer.student.conv1.weight.zero_()
        regularizer.init_from_student()
        assert all(torch.equal(value, before[name]) for name, value in regularizer.state_dict().items())

    def test_the_students_weights_are_not_kept_twice(self, method, tmp_path):
        regularizer = build_regularizer(make_student(), settings_of(method, tmp_path))
        assert not {id(p) for p in regularizer.parameters()} & {id(p) for p in regularizer.student.parameters()}

    def test_bfloat16_gives_finite_losses_in_float32(self, method, tmp_path):
        regularizer = build_regularizer(make_student(), settings_of(method, tmp_path))
        with torch.autocast("cpu", dtype=torch.bfloat16):
            losses, _ = one_step(regularizer)
        assert all(loss.isfinite() for loss in losses.values())
        assert all(loss.dtype is torch.float32 for name, loss in losses.items() if name != "loss_task")

    def test_its_losses_are_told_from_the_tasks_by_their_names(self, method, tmp_path):
        losses, _ = one_step(build_regularizer(make_student(), settings_of(method, tmp_path)))
        assert {name for name in losses if is_term(name, method)} == losses.keys() - {"loss_task"}

    def test_only_what_is_trained_takes_a_gradient(self, method, tmp_path):
        """Its losses reach the student and the method's own trainable parts, all of which the optimiser sees."""
        regularizer = build_regularizer(make_student(), settings_of(method, tmp_path))
        one_step(regularizer)
        for _ in range(4):  # past every short schedule, and away from the pretrained weights
            with torch.no_grad():
                for parameter in regularizer.student.parameters():
                    parameter.add_(0.02 * torch.randn_like(parameter)).requires_grad_(method != "oracle")
                    parameter.grad = torch.randn_like(parameter)
            regularizer.before_optimizer_step()
            with torch.no_grad():
                for parameter in regularizer.student.parameters():
                    parameter.sub_(0.1 * parameter.grad)
                    parameter.grad = None
            regularizer.after_optimizer_step()
            losses, metrics = one_step(regularizer)
        added = [value for name, value in losses.items() if name != "loss_task"]
        assert all("loss" in name for name in losses)
        assert not any("loss" in name or value.requires_grad for name, value in metrics.items())
        if method in ("none", "oracle"):
            assert not added
            return
        sum(added).backward()
        assert regularizer.student.conv1.weight.grad.abs().sum() > 0
        for name, parameter in regularizer.named_parameters():
            assert (parameter.grad is not None) == parameter.requires_grad, name


def test_a_forgotten_hook_is_noticed():
    student = make_student()
    regularizer = build_regularizer(student, {"method": "none"})
    view = make_views(1)
    for _ in range(WARN_AFTER_STEPS - 1):
        regularizer.step(view, dict)
    with pytest.warns(UserWarning, match="after_optimizer_step.. was not called for 100 steps"):
        regularizer.step(view, dict)
    regularizer.after_optimizer_step()
    regularizer.step(view, dict)  # counted anew


def test_an_unknown_method_is_refused():
    with pytest.raises(ValueError, match=r"unknown method 'gcsig'\. Did you mean 'gcisg'"):
        build_regularizer(make_student(), {"method": "gcsig"})
