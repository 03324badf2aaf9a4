"""A training loop on plain torch with the NaN recorder."""

import random
from pathlib import Path

import numpy as np
import torch
from torch import nn

from gcisg_core.integrations.reproducible import random_state, set_random_state
from gcisg_core.nan.recorder import Framework, StepRecorder
from gcisg_core.regularizers import build_regularizer
from gcisg_suite.miniature.network import MiniResNet

PLAIN = Framework("plain", {}, random_state, set_random_state, repr, dict, lambda args, kwargs: ["a.png", "b.png"])


class Task(nn.Module):
    """GCISG on the miniature's network (BatchNorm, queues); `twist` is multiplied with the task's loss."""

    def __init__(self, **settings):
        super().__init__()
        torch.manual_seed(0)
        self.backbone, self.head = MiniResNet(num_classes=3), nn.Linear(3, 1)
        values = {"method": "gcisg", "queue_length": 40, "embedding_dim": 8, **settings}
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

    def __init__(self, task, folder, lr=0.01, scaler=None, wrapped=None, on_nonfinite=None):
        self.task, self.model, self.scaler = task, wrapped or task, scaler
        self.recorder = StepRecorder(task, folder, PLAIN, on_nonfinite)
        self.optimizer = torch.optim.SGD([p for p in task.parameters() if p.requires_grad], lr, 0.9, weight_decay=0.1)

    def step(self, iteration=0, images=None):
        self.optimizer.zero_grad()
        place = self.task.head.weight.device
        given = [view.to(place) for view in (views(iteration) if images is None else images)]
        total = sum(self.model(given).values())
        (self.scaler.scale(total) if self.scaler else total).backward()
        going_on = self.recorder.check(iteration, self.scaler.get_scale() if self.scaler else None)
        self.task.regularizer.before_optimizer_step()
        if self.scaler:
            self.scaler.step(self.optimizer)
            self.scaler.update()
        else:
            self.optimizer.step()
        if going_on:
            self.task.regularizer.after_optimizer_step()
        return going_on


def poison(parameter):
    """From now on its gradient is not finite."""
    return parameter.register_hook(lambda gradient: gradient / 0)


def copied(module):
    return {name: value.clone() for name, value in module.state_dict().items()}


def only_file(folder):
    (file,) = Path(folder).glob("nonfinite_*.pth")
    return file
