"""One view's activations at a time: the same losses and gradients, and the task's are gone before the others come."""

import pytest
import torch

from gcisg_core.regularizers import build_regularizer
from tests.core.students import SMALL, make_student, make_views, task


def step(**settings):
    """Losses, gradients and buffers of a step, what was kept for the backward pass (bytes), and the order of passes."""
    gcisg = build_regularizer(make_student(), {**SMALL, **settings})
    student, views, order, kept = gcisg.student, make_views(), [], {}
    student.conv1.register_forward_pre_hook(lambda module, inputs: order.append("forward"))
    views[gcisg.settings.task_view].requires_grad_()
    views[gcisg.settings.task_view].register_hook(lambda gradient: order.append("task's gradient"))

    own = {parameter.data_ptr() for parameter in [*student.parameters(), *gcisg.parameters()]}

    def keep(tensor):
        if tensor.data_ptr() not in own:
            kept[tensor.untyped_storage().data_ptr()] = tensor.untyped_storage().nbytes()
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
        losses, _ = gcisg.step(views, task(student, views[gcisg.settings.task_view]))
    order.append("losses")
    sum(losses.values()).backward()
    trained = [*student.named_parameters(), *getattr(gcisg, "projectors", student).named_parameters()]
    gradients = {name: parameter.grad for name, parameter in trained}
    return losses, gradients, dict(student.named_buffers()), sum(kept.values()), order


@pytest.mark.parametrize("task_view", [0, 1])
def test_losses_and_gradients_are_the_same_and_half_is_kept(task_view):
    plain, recomputed = (step(recompute_other_view=value, task_view=task_view) for value in (False, True))
    for ours, theirs in zip(recomputed[:2], plain[:2], strict=True):
        assert ours.keys() == theirs.keys()
        for name, value in theirs.items():
            torch.testing.assert_close(ours[name], value, rtol=1e-4, atol=1e-6)
    # Running statistics have seen each view once, the other first.
    assert recomputed[2]["bn1.num_batches_tracked"] == plain[2]["bn1.num_batches_tracked"] == 2
    one_view = step(lambda_ci=0.0, task_view=task_view)[3]
    assert plain[3] > 1.7 * one_view
    assert recomputed[3] < 1.3 * one_view
    assert plain[4] == ["forward", "forward", "losses", "task's gradient"]
    assert recomputed[4] == ["forward", "forward", "losses", "task's gradient", "forward"]
