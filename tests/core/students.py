"""A small student, views of it and a step."""

import torch

from gcisg_suite.miniature.network import MiniResNet

SMALL = {"method": "gcisg", "queue_length": 40, "embedding_dim": 8}


def make_student(seed=0):
    torch.manual_seed(seed)
    return MiniResNet(num_classes=5)


def make_views(count=2, batch=6):
    return [torch.rand(batch, 3, 32, 32, generator=torch.Generator().manual_seed(i)) for i in range(count)]


def task(student, view):
    return lambda: {"loss_task": student(view).square().mean()}


def one_step(regularizer, views=None):
    views = views or make_views()
    view = views[regularizer.settings.task_view]
    return regularizer.step(views, task(regularizer.student, view))
