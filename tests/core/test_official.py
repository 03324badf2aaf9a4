"""The preset `official` over several steps, against a loop written from the equations; the order of a step's parts."""

import copy

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from gcisg_core.regularizers import build_regularizer
from gcisg_suite.miniature.network import MiniResNet

STEPS, BATCH, CLASSES = 6, 4, 5
STAGES = ("stage3", "stage4")
# The queue wraps in the fifth step, within the keys of one direction.
OFFICIAL = {"method": "gcisg", "preset": "official", "queue_length": 34, "embedding_dim": 8, "decay": 0.9}


def student():
    torch.manual_seed(0)
    return MiniResNet(num_classes=CLASSES).double().train()


def draw(step):
    """Two views and the labels."""
    generator = torch.Generator().manual_seed(100 + step)
    views = [torch.rand(BATCH, 3, 16, 16, generator=generator, dtype=torch.float64) for _ in range(2)]
    return views, torch.randint(CLASSES, (BATCH,), generator=generator)


def sgd(*modules):
    trained = [p for module in modules for p in module.parameters() if p.requires_grad]
    return torch.optim.SGD(trained, lr=0.05, momentum=0.9, weight_decay=5e-4)


class Suite:
    """A training loop of your own, as docs/your_model.md has it."""

    def __init__(self, **settings):
        self.student = student()
        self.method = build_regularizer(self.student, {**OFFICIAL, **settings}).double()
        self.optimizer = sgd(self.student, self.method)

    def step(self, number):
        views, labels = draw(number)
        view = views[self.method.settings.task_view]
        losses, _ = self.method.step(views, lambda: {"loss_task": F.cross_entropy(self.student(view), labels)})
        self.optimizer.zero_grad()
        sum(losses.values()).backward()
        self.method.before_optimizer_step()
        self.optimizer.step()
        self.method.after_optimizer_step()
        return {name: value.item() for name, value in losses.items()}


class WrittenOut:
    """The same from the equations and what the authors' code is known to do; nothing of the suite but the network.

    Starts from a copy of the suite's random parts: projectors and queues.
    """

    def __init__(self, suite):
        self.student = student()
        self.reference, self.target = copy.deepcopy(self.student).eval(), copy.deepcopy(self.student)
        self.projectors, self.first = (
            nn.ModuleDict({stage: copy.deepcopy(suite.projectors[stage]) for stage in STAGES}) for _ in range(2)
        )
        self.queues = {stage: suite.queues[stage].features.clone() for stage in STAGES}
        self.oldest = dict.fromkeys(STAGES, 0)
        self.optimizer = sgd(self.student, self.projectors)

    @staticmethod
    def maps(network, images):
        x = network.relu(network.bn1(network.conv1(images)))
        third = network.layer3(network.layer2(network.layer1(x)))
        return {"stage3": third, "stage4": network.layer4(third)}

    @staticmethod
    def attend(v):
        """Self-attention pooling (Eq. 6 and 7), image by image, of unit length."""
        rows = []
        for image in v.flatten(2):  # (C, positions)
            attention = image.mean(dim=1) @ image
            rows.append(image @ (attention / attention.sum()))
        return torch.stack([row / row.norm() for row in rows])

    @staticmethod
    def embed(projectors, maps):
        rows = {stage: projectors[stage](maps[stage].mean(dim=(2, 3))) for stage in STAGES}
        return {stage: z / z.norm(dim=1, keepdim=True) for stage, z in rows.items()}

    def relate(self, stage, z, z_momentum):
        """One direction (Eq. 2) with the queue as it is; then its keys take the places of the oldest."""
        queue = self.queues[stage].clone()  # the loss keeps the keys that it saw
        p_target = ((z_momentum @ queue.T) / 0.04).exp()
        p_target = p_target / p_target.sum(dim=1, keepdim=True)
        p = ((z @ queue.T) / 0.12).exp()
        p = p / p.sum(dim=1, keepdim=True)
        for key in z_momentum:
            self.queues[stage][self.oldest[stage]] = key
            self.oldest[stage] = (self.oldest[stage] + 1) % len(queue)
        return -(p_target * p.log()).sum(dim=1).mean()

    def step(self, number):
        views, labels = draw(number)
        maps = [self.maps(self.student, view) for view in views]
        with torch.no_grad():
            reference = self.maps(self.reference, views[1])
            targets = [self.embed(self.first, self.maps(self.target, view)) for view in views]
        z = [self.embed(self.projectors, m) for m in maps]
        pooled = maps[1]["stage4"].mean(dim=(2, 3))
        losses = {"loss_task": F.cross_entropy(self.student.fc(pooled), labels)}
        for stage in STAGES:
            difference = self.attend(maps[1][stage]) - self.attend(reference[stage])
            losses[f"loss_guidance_{stage}"] = difference.square().sum().sqrt()
            losses[f"loss_ci_{stage}"] = sum(
                self.relate(stage, z[own][stage], targets[1 - own][stage]) for own in range(2)
            )
        with torch.no_grad():  # before the optimiser's step: the target follows the weights that made this loss
            for mine, theirs in zip(self.target.parameters(), self.student.parameters(), strict=True):
                mine.mul_(0.9).add_(0.1 * theirs)
        self.optimizer.zero_grad()
        sum(losses.values()).backward()
        self.optimizer.step()
        return {name: value.item() for name, value in losses.items()}


def test_six_steps_are_the_authors():
    """Losses of every step; student, projectors, momentum, queues and target after the last."""
    suite = Suite()
    suite.method.init_from_student()
    own = WrittenOut(suite.method)
    for number in range(STEPS):
        found, expected = suite.step(number), own.step(number)
        assert found.keys() == expected.keys()
        assert found == pytest.approx(expected, rel=1e-12, abs=1e-12), f"step {number + 1}"
    pairs = [
        (suite.student, own.student),
        (suite.method.projectors, own.projectors),
        (suite.method.momentum_encoder.average.module, own.target),
        (suite.method.momentum_encoder.projectors, own.first),
    ]
    close = {"rtol": 1e-10, "atol": 1e-11}
    for ours, theirs in pairs:
        for mine, other in zip(ours.parameters(), theirs.parameters(), strict=True):
            torch.testing.assert_close(mine, other, **close)
    for stage in STAGES:
        torch.testing.assert_close(suite.method.queues[stage].features, own.queues[stage], **close)
        assert suite.method.queues[stage].pointer == own.oldest[stage]
    momenta = [[state["momentum_buffer"] for state in o.state.values()] for o in (suite.optimizer, own.optimizer)]
    assert sum(m.abs().sum() for m in momenta[0]) > 0
    for mine, other in zip(*momenta, strict=True):
        torch.testing.assert_close(mine, other, **close)


class TestOrder:
    @pytest.mark.parametrize("order", ["before_step", "after_step"])
    def test_the_target_follows_the_weights_before_or_after_the_step_once(self, order):
        """Under gradient clipping the optimiser's own class calls the hook again."""
        suite = Suite(momentum_update=order)
        method, weight = suite.method, suite.student.conv1.weight
        calls = []
        suite.optimizer.register_step_pre_hook(lambda *_: calls.append(method.before_optimizer_step()))
        suite.step(0)
        target = method.momentum_encoder.average.module.conv1.weight.clone()
        before = weight.detach().clone()
        suite.step(1)
        assert len(calls) == 2
        followed = before if order == "before_step" else weight.detach()
        torch.testing.assert_close(method.momentum_encoder.average.module.conv1.weight, 0.9 * target + 0.1 * followed)
        assert not torch.equal(before, weight)

    def test_a_loop_that_never_says_before_is_told(self):
        suite = Suite()
        suite.method.before_optimizer_step = lambda: None
        with pytest.raises(ValueError, match=r"needs before_optimizer_step\(\).*RegularizerHook"):
            suite.step(0)

    def test_without_a_target_nothing_is_asked_for(self):
        suite = Suite(lambda_ci=0.0)
        suite.method.before_optimizer_step = lambda: None
        assert "loss_guidance_stage3" in suite.step(0)
