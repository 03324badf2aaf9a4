"""CSG against a slow form in float64 that is written from the paper's equations alone."""

from __future__ import annotations

import copy

import pytest
import torch
from torch import nn

from gcisg_core.regularizers import build_regularizer

GRID = (2, 2)


class TwoStages(nn.Module):
    """Stages 3 and 4 of 5 and 7 channels, 4 x 4 and 2 x 2 positions for 8 x 8 images; features of both signs."""

    def __init__(self) -> None:
        super().__init__()
        self.layer3 = nn.Conv2d(3, 5, 3, stride=2, padding=1)
        self.layer4 = nn.Conv2d(5, 7, 3, stride=2, padding=1)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        return self.layer4(self.layer3(images))


def build(**settings):
    torch.manual_seed(0)
    student = TwoStages()
    where = {"stage_locations": {3: "layer3", 4: "layer4"}}
    values = {**where, "lambda_csg": [2.0, 3.0], "queue_length": 12, "embedding_dim": 4, "patches": GRID, **settings}
    regularizer = build_regularizer(student, {"method": "csg", **values}).double()
    student.double()
    with torch.no_grad():  # the reference must differ from the student to be told apart
        regularizer.init_from_student()
        for parameter in [*student.parameters(), *regularizer.projectors.parameters()]:
            parameter.add_(0.1 * torch.randn_like(parameter))
    return student, regularizer, [torch.rand(2, 3, 8, 8).double() for _ in range(2)]


def slow_cells(features):
    """Cells of (B, C, H, W) one by one, rows before columns."""
    rows, columns = (size // patches for size, patches in zip(features.shape[2:], GRID, strict=True))
    return [
        image[:, r * rows : (r + 1) * rows, c * columns : (c + 1) * columns].flatten(1)
        for image in features
        for r in range(GRID[0])
        for c in range(GRID[1])
    ]


def slow_a_pool(values, attention_from):
    """One cell (C, positions), by CSG's formula, position by position."""
    mean = attention_from.mean(dim=1)
    scores = [float(attention_from[:, i] @ mean) for i in range(attention_from.shape[1])]
    return sum(values[:, i] * score for i, score in enumerate(scores)) / sum(scores)


def slow_mean(values, attention_from):
    """One cell (C, positions): global average pooling, which asks no attention."""
    return sum(values.T) / values.shape[1]


def slow_losses(student, regularizer, views, task_view, pool=slow_a_pool):
    reference, other = regularizer.reference.encoder, views[1 - task_view]
    maps = {3: nn.Sequential(student.layer3), 4: nn.Sequential(student.layer3, student.layer4)}
    frozen = {3: nn.Sequential(reference.layer3), 4: nn.Sequential(reference.layer3, reference.layer4)}
    result = {}
    for stage, weight in ((3, 2.0), (4, 3.0)):
        own, attention, guide = maps[stage](views[task_view]), maps[stage](other), frozen[stage](other)
        h, h_average = regularizer.projectors[f"stage{stage}"], regularizer.average.module[f"stage{stage}"]
        negatives = regularizer.queues[f"stage{stage}"].features
        rows = []
        for mine, theirs, weigh in zip(slow_cells(own), slow_cells(guide), slow_cells(attention), strict=True):
            z, key = h(pool(mine, mine)), h_average(pool(theirs, weigh))
            z, key = z / z.norm(), key / key.norm()
            positive = torch.exp(z @ key / 0.07)
            rows.append(-torch.log(positive / (positive + sum(torch.exp(z @ q / 0.07) for q in negatives))))
        result[f"loss_csg_stage{stage}"] = weight * sum(rows) / len(rows)
    return result


@pytest.mark.parametrize("task_view", [0, 1])
@pytest.mark.parametrize(("pooling", "slow"), [("self_attention", slow_a_pool), ("global_average", slow_mean)])
def test_value_equals_the_slow_form(task_view, pooling, slow):
    student, regularizer, views = build(task_view=task_view, pooling=pooling)
    expected = slow_losses(student, regularizer, views, task_view, slow)
    losses, metrics = regularizer.step(views, lambda: {"loss": student(views[task_view]).mean()})
    for name, value in expected.items():
        torch.testing.assert_close(losses[name], value, rtol=1e-10, atol=0)
    assert set(metrics) == {"csg_match_stage3", "csg_match_stage4"}


def test_gradient_reaches_student_and_projector_only():
    student, regularizer, views = build()
    losses, _ = regularizer.step(views, lambda: {"loss": student(views[0]).sum() * 0})
    sum(losses.values()).backward()
    assert all(p.grad is not None and p.grad.abs().max() > 0 for p in regularizer.projectors.parameters())
    assert all(p.grad is not None and p.grad.abs().max() > 0 for p in student.parameters())
    frozen = [*regularizer.reference.parameters(), *regularizer.average.parameters()]
    assert frozen
    assert all(p.grad is None and not p.requires_grad for p in frozen)


def test_keys_join_the_queue_after_the_loss_in_the_order_of_images_and_cells():
    student, regularizer, views = build()
    before = regularizer.queues["stage4"].features.clone()
    regularizer.step(views, lambda: {"loss": student(views[0]).sum()})
    after = regularizer.queues["stage4"]
    with torch.no_grad():
        h = regularizer.average.module["stage4"]
        guide, attention = (net.layer4(net.layer3(views[1])) for net in (regularizer.reference.encoder, student))
        keys = [h(slow_a_pool(a, b)) for a, b in zip(slow_cells(guide), slow_cells(attention), strict=True)]
    expected = nn.functional.normalize(torch.stack(keys))
    torch.testing.assert_close(after.features[:8], expected)
    torch.testing.assert_close(after.features[8:], before[8:])
    assert after.pointer == 8


def test_averaged_projector_follows_by_its_decay():
    _, regularizer, _ = build(decay=0.9)
    average, own = regularizer.average.module, regularizer.projectors
    before = copy.deepcopy(average)
    regularizer.after_optimizer_step()
    for new, old, student in zip(average.parameters(), before.parameters(), own.parameters(), strict=True):
        torch.testing.assert_close(new, 0.9 * old + 0.1 * student)
        assert not torch.equal(new, old)


def test_padding_has_no_influence():
    student, regularizer, views = build()
    mask = torch.ones(2, 8, 8, dtype=torch.bool)
    mask[1, 4:] = False  # the lower patches of the second image

    def anchors(second):
        return regularizer._pool(student.layer3(second), None, mask)

    changed = views[0].clone()
    changed[1, :, 6:] = 0.3
    assert anchors(views[0]).shape == (6, 5)
    torch.testing.assert_close(anchors(changed), anchors(views[0]))
    losses, _ = regularizer.step(views, lambda: {"loss": student(views[0]).sum()}, mask)
    assert losses["loss_csg_stage4"].isfinite()


def test_zero_weight_needs_nothing():
    regularizer = build_regularizer(TwoStages(), {"method": "csg", "lambda_csg": 0.0, "queue_length": 4})
    losses, metrics = regularizer.step([torch.rand(1, 3, 8, 8)], lambda: {"loss": torch.ones(())})
    assert set(losses) == {"loss"}
    assert metrics == {}
    assert [*regularizer.parameters()] == []


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"stages": []}, "stages"),
        ({"tau": 0.0}, "tau"),
        ({"patches": [3]}, "patches"),
        ({"lamda_csg": 1}, "lambda_csg"),
    ],
)
def test_wrong_setting_is_named(settings, message):
    with pytest.raises(ValueError, match=message):
        build(**settings)
