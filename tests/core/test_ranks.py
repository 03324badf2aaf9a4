"""Every method on two gloo ranks: the same state on both, and the losses of one process with all images."""

from functools import partial
from pathlib import Path

import pytest
import torch
import torch.distributed as dist
from torch import nn
from torch.nn.parallel import DistributedDataParallel

from gcisg_core.regularizers import METHODS, build_regularizer
from tests.methods import settings_of
from tests.processes import on_two_ranks

STEPS = 5


class Student(nn.Module):
    """Five stages without BatchNorm, whose statistics would be those of a rank's own images."""

    def __init__(self):
        super().__init__()
        self.conv1, self.relu = nn.Conv2d(3, 4, 3, padding=1), nn.ReLU()
        for number in range(1, 5):
            setattr(self, f"layer{number}", nn.Sequential(nn.Conv2d(4, 4, 3, padding=1), nn.ReLU()))

    def forward(self, x):
        return self.layer4(self.layer3(self.layer2(self.layer1(self.relu(self.conv1(x))))))


class Task(nn.Module):
    def __init__(self, method, folder):
        super().__init__()
        torch.manual_seed(0)
        self.backbone, self.head = Student(), nn.Conv2d(4, 2, 1)
        self.regularizer = build_regularizer(self.backbone, settings_of(method, folder, channels=4))

    def forward(self, views):
        run = partial(self._task, views[self.regularizer.settings.task_view])
        return self.regularizer.step(views, run)[0]

    def _task(self, images):
        return {"loss_task": self.head(self.backbone(images)).square().mean()}


def train(method, folder, rank=0, ranks=1):
    """The losses of all steps and the final state; 4 images, so that the queue holds a whole number of batches."""
    task = Task(method, folder)
    model = DistributedDataParallel(task) if ranks > 1 else task
    optimizer = torch.optim.SGD([p for p in task.parameters() if p.requires_grad], lr=0.05)
    optimizer.register_step_pre_hook(lambda *_: task.regularizer.before_optimizer_step())
    history = []
    for step in range(STEPS):
        torch.manual_seed(step)  # of the views, and of what a method draws, the same on all ranks
        views = [torch.rand(4, 3, 8, 8)[rank * 4 // ranks : (rank + 1) * 4 // ranks] for _ in range(2)]
        losses = model(views)
        optimizer.zero_grad()
        sum(losses.values()).backward()
        optimizer.step()
        task.regularizer.after_optimizer_step()
        history.append({name: value.detach() for name, value in losses.items()})
    return history, task.state_dict()


def run_rank(rank, folder):
    torch.set_num_threads(1)
    dist.init_process_group("gloo", init_method=f"file://{folder}/meet", rank=rank, world_size=2)
    (Path(folder) / str(rank)).mkdir()
    results = {method: train(method, Path(folder) / str(rank), rank, 2) for method in METHODS}
    torch.save(results, Path(folder) / f"{rank}.pth")
    dist.destroy_process_group()


@pytest.fixture(scope="module")
def two_ranks(tmp_path_factory):
    folder = tmp_path_factory.mktemp("ranks")
    on_two_ranks(run_rank, str(folder))
    return [torch.load(folder / f"{rank}.pth", weights_only=True) for rank in (0, 1)]


@pytest.mark.parametrize("method", METHODS)
def test_two_ranks_agree_with_each_other_and_with_one(method, two_ranks, tmp_path):
    (first, first_state), (second, second_state) = (results[method] for results in two_ranks)
    for name, value in first_state.items():
        assert torch.equal(value, second_state[name]), name
    alone, _ = train(method, tmp_path)
    for one, two, single in zip(first, second, alone, strict=True):
        assert one.keys() == single.keys()
        for name, value in single.items():
            torch.testing.assert_close((one[name] + two[name]) / 2, value, rtol=1e-4, atol=1e-6)
