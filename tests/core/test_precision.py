import pytest
import torch

from gcisg_core.precision import full_precision
from gcisg_core.regularizers import build_regularizer
from tests.core.students import SMALL, make_student, one_step


@pytest.mark.parametrize(
    ("given", "result"),
    [
        (torch.float16, torch.float32),
        (torch.bfloat16, torch.float32),
        (torch.float32, torch.float32),
        (torch.float64, torch.float64),
    ],
)
def test_half_precision_becomes_float32_and_the_rest_stays(given, result):
    assert full_precision(torch.ones(2, dtype=given)).dtype == result


def passes(method, precision, autocast=False):
    """A step: (network, with gradient) -> types of its last layer's output; losses; gradients of what is trained."""
    regularizer = build_regularizer(make_student(), {**SMALL, "method": method, "no_grad_precision": precision})
    seen = {}
    for network in (regularizer.student, *(m for m in regularizer.modules() if hasattr(m, "layer4"))):
        who = "student" if network is regularizer.student else "beside"

        def note(module, inputs, output, who=who):
            seen.setdefault((who, torch.is_grad_enabled()), set()).add(output.dtype)

        network.layer4[-1].conv2.register_forward_hook(note)
    with torch.autocast("cpu", torch.bfloat16, enabled=autocast):
        losses, _ = one_step(regularizer)
    sum(losses.values()).backward()
    trained = [*regularizer.student.named_parameters(), *regularizer.projectors.named_parameters()]
    return seen, losses, {name: p.grad for name, p in trained if not name.startswith("fc.")}


@pytest.mark.parametrize("method", ["gcisg", "csg"])
@pytest.mark.parametrize("precision", ["bfloat16", "float16"])
def test_lower_precision_is_for_the_passes_without_gradients_alone(method, precision):
    """The student's, the losses and the gradients stay float32, and nearly the same."""
    (plain, exact, expected), (seen, losses, gradients) = passes(method, "same"), passes(method, precision)
    assert {kind for kinds in plain.values() for kind in kinds} == {torch.float32}
    lower = {getattr(torch, precision)}
    assert seen == {who: {torch.float32} if who == ("student", True) else lower for who in plain}
    assert losses["loss_task"] == exact["loss_task"]
    for name, value in exact.items():
        assert losses[name].dtype is torch.float32
        torch.testing.assert_close(losses[name], value, rtol=0.02, atol=0.01)
    for name, value in expected.items():
        assert gradients[name].dtype is torch.float32
        assert torch.cosine_similarity(gradients[name].flatten(), value.flatten(), dim=0) > 0.98, name


@pytest.mark.parametrize("method", ["gcisg", "csg"])
def test_in_mixed_precision_the_student_still_takes_every_gradient(method):
    """A cast of its weights in a pass without gradients must not be taken for one with."""
    for precision in ("bfloat16", "float16"):
        _, _, gradients = passes(method, precision, autocast=True)
        assert all(gradient is not None and gradient.abs().sum() > 0 for gradient in gradients.values())


def test_an_unknown_precision_is_named():
    with pytest.raises(ValueError, match="unknown no_grad_precision 'bfloat'. Did you mean 'bfloat16'"):
        build_regularizer(make_student(), {**SMALL, "no_grad_precision": "bfloat"})
