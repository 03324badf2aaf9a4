"""Instance selective whitening against a form written entry by entry in float64."""

import itertools

import pytest
import torch
from torch import nn

from gcisg_core.regularizers import build_regularizer
from gcisg_core.regularizers.isw import covariance, in_lowest_cluster


class Student(nn.Module):
    def __init__(self):
        super().__init__()
        torch.manual_seed(0)
        self.layer1 = nn.Conv2d(3, 5, 3, padding=1)
        self.layer2 = nn.Conv2d(5, 4, 3, stride=2, padding=1)

    def forward(self, x):
        return self.layer2(self.layer1(x))

    def maps(self, x):
        first = self.layer1(x)
        return {1: first, 2: self.layer2(first)}


def build(**settings):
    student = Student().double()
    values = {"stages": [1, 2], "warmup_steps": 3, "statistics_steps": 2, "lambda_isw": 0.5, **settings}
    values["stage_locations"] = {1: "layer1", 2: "layer2"}
    return build_regularizer(student, {"method": "isw", **values}).double()


def views(step):
    generator = torch.Generator().manual_seed(step)
    return [torch.rand(2, 3, 6, 6, generator=generator).double() for _ in range(2)]


def step(isw, number, mask=None):
    pair = views(number)
    return isw.step(pair, lambda: {"loss_task": isw.student(pair[0]).sum() * 0}, mask)


def slow_covariance(image):
    """Of one image (C, H, W), whose every position counts."""
    rows = [channel.flatten().tolist() for channel in image]
    standard = []
    for row in rows:
        mean = sum(row) / len(row)
        variance = sum((v - mean) ** 2 for v in row) / len(row)
        standard.append([(v - mean) / (variance + 1e-5) ** 0.5 for v in row])
    return [[sum(a * b for a, b in zip(r, c, strict=True)) / (len(r) - 1) for c in standard] for r in standard]


def slow_lowest(values, clusters):
    """The exact optimum of k-means on a line: the best of all ways to cut the sorted values."""
    order = sorted(values)

    def cost(cut):
        parts = [order[a:b] for a, b in itertools.pairwise([0, *cut, len(order)])]
        return sum(sum((v - sum(part) / len(part)) ** 2 for v in part) for part in parts)

    best = min(itertools.combinations(range(1, len(order)), clusters - 1), key=cost)
    return [value < order[best[0]] for value in values]


def test_loss_is_that_of_the_paper_after_the_warm_up():
    isw = build()
    logs = [step(isw, number) for number in range(4)]
    assert all(losses.keys() == {"loss_task"} and not metrics for losses, metrics in logs[:3])
    expected = 0.0
    for stage, channels in ((1, 5), (2, 4)):
        pairs = [(i, j) for i in range(channels) for j in range(i + 1, channels)]
        variances = dict.fromkeys(pairs, 0.0)
        for number in (1, 2):  # the last two steps of the warm-up
            first, second = (isw.student.maps(view)[stage].detach() for view in views(number))
            for a, b in zip(first, second, strict=True):
                before, after = slow_covariance(a), slow_covariance(b)
                for i, j in pairs:
                    mean = (before[i][j] + after[i][j]) / 2
                    variances[i, j] += ((before[i][j] - mean) ** 2 + (after[i][j] - mean) ** 2) / 2
        low = slow_lowest([*variances.values()], 3)
        chosen = [pair for pair, lowest in zip(pairs, low, strict=True) if not lowest]
        assert 0 < len(chosen) < len(pairs)
        now = [slow_covariance(image) for image in isw.student.maps(views(3)[0])[stage].detach()]
        expected += sum(abs(matrix[i][j]) for matrix in now for i, j in chosen) / len(chosen) / 2
        assert logs[3][1][f"isw_share_stage{stage}"].item() == pytest.approx(len(chosen) / len(pairs))
    assert logs[3][0]["loss_isw"].item() == pytest.approx(0.5 * expected / 2, rel=1e-9)


def test_gradient_goes_to_the_student_alone():
    isw = build(warmup_steps=1, statistics_steps=1)
    step(isw, 0)
    losses, _ = step(isw, 1)
    losses["loss_isw"].backward()
    assert all(parameter.grad.abs().sum() > 0 for parameter in isw.student.parameters())
    assert not [*isw.parameters()]


def test_the_other_view_passes_through_the_student_while_statistics_are_collected_only():
    isw = build()
    calls = []
    isw.student.layer1.register_forward_hook(lambda *_: calls.append(torch.is_grad_enabled()))
    counts = []
    for number in range(5):
        calls.clear()
        step(isw, number)
        counts.append(len(calls))
    assert counts == [1, 2, 2, 1, 1]


def test_padding_has_no_influence():
    mask = torch.ones(2, 6, 6, dtype=torch.bool)
    mask[1, 4:] = False
    maps = torch.rand(2, 3, 6, 6).double()
    padded = maps.clone()
    padded[1, :, 4:] = 7.0
    torch.testing.assert_close(covariance(padded, mask), covariance(maps, mask))
    torch.testing.assert_close(covariance(padded, mask)[1], covariance(maps[1:, :, :4])[0])


def test_clusters_are_the_optimal_ones():
    values = torch.tensor([0.01, 0.02, 0.05, 0.9, 1.1, 5.0, 0.03, 5.2], dtype=torch.float64)
    assert in_lowest_cluster(values, 3).tolist() == slow_lowest(values.tolist(), 3)
    spread = torch.rand(25, generator=torch.Generator().manual_seed(1)).double() ** 3
    assert in_lowest_cluster(spread, 3).tolist() == slow_lowest(spread.tolist(), 3)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"clusters": 1}, "clusters must be at least 2"),
        ({"warmup_steps": 1}, "warmup_steps must be at least statistics_steps = 2"),
        ({"stages": []}, "stages must be at least one stage"),
    ],
)
def test_wrong_settings_are_named(settings, message):
    with pytest.raises(ValueError, match=message):
        build(**settings)
