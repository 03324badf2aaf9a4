"""Every method's step on fake CUDA tensors: all on one device, and nothing that waits for it."""

import pytest
import torch
from torch import nn
from torch._subclasses.fake_tensor import DataDependentOutputException

from gcisg_core.config import Settings
from gcisg_core.regularizers import METHODS, Regularizer, Terms, build_regularizer
from tests.core.students import make_student, make_views, one_step
from tests.fake_cuda import TransferError, finish_step, no_waiting, on_fake_cuda
from tests.methods import settings_of


def run(regularizer, mask=None, earlier=1):
    """Some steps on the host, which end warm-ups and what is done once, and one on fake CUDA tensors."""
    both, views = nn.ModuleDict({"student": regularizer.student, "method": regularizer}), make_views()
    for _ in range(earlier):
        one_step(regularizer, views)
        regularizer.before_optimizer_step()
        regularizer.after_optimizer_step()
    with on_fake_cuda(both) as move:
        views, mask = [move(view) for view in views], mask if mask is None else move(mask)
        view = views[regularizer.settings.task_view]
        with no_waiting():
            losses, metrics = regularizer.step(views, lambda: {"loss_task": regularizer.student(view).mean()}, mask)
            finish_step(both, regularizer)
    assert {value.device.type for value in (*losses.values(), *metrics.values())} == {"cuda"}
    assert {tensor.device.type for tensor in (*both.parameters(), *both.buffers())} == {"cuda"}
    return losses


# Padding goes with each method but for grids of cells: which of these are all padding, the host must ask.
CASES = [(method, {}, True) for method in METHODS]
CASES += [
    ("gcisg", {"preset": "official"}, True),
    ("gcisg", {"patches": (2, 2), "patches_guidance": (2, 2), "ci_loss": "info_nce"}, False),
    ("csg", {"patches": (2, 2)}, False),
    ("csg", {"pooling": "global_average"}, True),
    ("asg", {"per_location": True}, True),
    ("isw", {"warmup_steps": 5, "statistics_steps": 5}, False),  # one of those that collect
]


@pytest.mark.parametrize(("method", "options", "padded"), CASES, ids=str)
def test_a_step_stays_on_the_device_and_reads_nothing_of_it(method, options, padded, tmp_path):
    mask = torch.ones(6, 32, 32, dtype=torch.bool)
    mask[1:, 20:] = False
    regularizer = build_regularizer(make_student(), {**settings_of(method, tmp_path), **options})
    losses = run(regularizer, mask if padded else None, earlier=2 if method == "isw" else 1)
    assert (losses.keys() > {"loss_task"}) == (method not in ("none", "oracle") and "warmup_steps" not in options)


class Mistaken(Regularizer):
    """Makes a mistake in its loss."""

    def __init__(self, mistake):
        super().__init__(make_student(), Settings())
        self.register_buffer("scale", torch.ones(3))
        self.kept, self.mistake = torch.ones(3), mistake

    def forward(self, views, features, mask=None):
        mean = views[0].mean(dim=(0, 2, 3))
        return Terms({"loss_own": self.mistake(self, mean).sum()}, {})


@pytest.mark.parametrize(
    ("mistake", "error", "message"),
    [
        (lambda method, mean: mean * torch.ones(3), RuntimeError, "cuda:0.* cpu|cpu.* cuda:0"),
        (lambda method, mean: mean * method.kept, Exception, "convert all Tensors to FakeTensors first"),
        (lambda method, mean: mean * mean.sum().item(), DataDependentOutputException, "_local_scalar_dense"),
        (lambda method, mean: mean if mean.sum() > 0 else -mean, DataDependentOutputException, "_local_scalar_dense"),
        (lambda method, mean: mean[mean > 0], Exception, "nonzero"),
        (lambda method, mean: mean * mean.new_tensor([1.0, 2.0, 3.0]), TransferError, "_to_copy"),
        (lambda method, mean: mean.cpu(), TransferError, "_to_copy"),
        (lambda method, mean: mean[torch.tensor([0, 1])], TransferError, "index"),
    ],
)
def test_mistakes_are_found(mistake, error, message):
    with pytest.raises(error, match=message):
        run(Mistaken(mistake))
    run(Mistaken(lambda method, mean: mean * method.scale))
