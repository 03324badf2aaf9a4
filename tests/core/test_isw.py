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


def test_clusters_of_many_values_are_the_optimal_ones():
    values = torch.exp(3 * torch.randn(3000, generator=torch.Generator().manual_seed(7)).double())
    order = values.sort().values
    sums, squares = (nn.functional.pad(v.cumsum(0), (1, 0)) for v in (order, order.square()))
    # cost[i, j]: of the values from i to j as one cluster.
    count = (torch.arange(3001) - torch.arange(3001)[:, None]).clamp(min=1)
    cost = squares - squares[:, None] - (sums - sums[:, None]).square() / count
    total = (cost[0][:, None] + cost + cost[:, -1])[1:-1, 1:-1]  # by first and second cut
    total[torch.ones_like(total).tril() > 0] = torch.inf
    first = int(total.argmin()) // len(total) + 1
    assert int(in_lowest_cluster(values, 3).sum()) == first


def test_fewer_different_values_than_clusters():
    assert in_lowest_cluster(torch.tensor([2.0, 1.0, 2.0, 1.0]), 3).tolist() == [False, True, False, True]
    assert in_lowest_cluster(torch.ones(4), 3).all()


class Square(nn.Module):
    """A change of style that can be repeated."""

    def forward(self, images):
        return images.square()


MEAN, STD = ([[[value]] for value in values] for values in ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225)))


def normalised(rgb):
    return (rgb - rgb.new_tensor(MEAN)) / rgb.new_tensor(STD)


def robustnet(**settings):
    values = {"preset": "robustnet", "trials": 2, "statistics_steps": 4, "warmup_steps": 5, **settings}
    isw = build(**values)
    isw.strong = Square()
    return isw


def statistics_step(isw, number, mask=None):
    rgb = views(number)[0]
    isw.step([normalised(rgb)], lambda: {"loss_task": isw.student(rgb).sum() * 0}, mask)
    return rgb


def test_the_preset_has_the_statistics_of_the_authors_code():
    """Variance over an image and its change, summed over a trial; all entries clustered; masks of all trials."""
    isw = robustnet()
    assert isw.views_needed == 1
    images = [statistics_step(isw, number) for number in range(5)]
    for stage, channels in ((1, 5), (2, 4)):
        masks = []
        for trial in ((1, 2), (3, 4)):
            entries = [0.0] * channels**2
            for image in (image for number in trial for image in images[number]):
                pair = (image, image.float().square())  # the change is drawn in float32
                maps = (isw.student.maps(normalised(view.double())[None])[stage][0].detach() for view in pair)
                before, after = (slow_covariance(m) for m in maps)
                for i in range(channels):
                    for j in range(i + 1, channels):
                        mean = (before[i][j] + after[i][j]) / 2
                        entries[i * channels + j] += (before[i][j] - mean) ** 2 + (after[i][j] - mean) ** 2
            masks.append([not low for low in slow_lowest(entries, 3)])
        expected = [float(a and b) for a, b in zip(*masks, strict=True)]
        assert isw.get_buffer(f"mask_stage{stage}").flatten().tolist() == expected
        assert sum(expected) > 0
    assert masks[0] != masks[1]


def test_the_strong_change_is_that_of_the_authors_code():
    jitter, blur = build(preset="robustnet", statistics_steps=10, warmup_steps=10).strong.transform
    for name in ("brightness", "contrast", "saturation"):
        assert getattr(jitter, name) == pytest.approx((0.2, 1.8))
    assert (jitter.hue, blur.p, tuple(blur.transforms[0].sigma)) == ((-0.3, 0.3), 1.0, (0.15, 1.3))


def test_its_statistics_are_taken_in_eval_mode():
    isw = robustnet()
    modes = []
    isw.student.layer1.register_forward_hook(lambda module, *_: modes.append(module.training))
    for number in range(5):
        statistics_step(isw, number)
    assert modes == [True] + [True, False, False] * 4
    assert isw.student.training
    assert isw.student.layer1.training


def test_bgr_and_padding_of_the_strong_change():
    isw, rgb = robustnet(), torch.rand(2, 3, 6, 6)
    torch.testing.assert_close(isw._strongly_changed(normalised(rgb), None), normalised(rgb.square()))
    bgr = robustnet(pixel_bgr=True, pixel_mean=[0.406, 0.456, 0.485], pixel_std=[0.225, 0.224, 0.229])
    bgr.strong = type("Red", (nn.Module,), {"forward": lambda self, x: x * x.new_tensor([[[0.0]], [[1]], [[1]]])})()
    changed = bgr._strongly_changed(normalised(rgb).flip(1), None).flip(1)
    torch.testing.assert_close(changed, normalised(rgb * torch.tensor([[[0.0]], [[1]], [[1]]])))
    mask = torch.ones(2, 6, 6, dtype=torch.bool)
    mask[:, 4:] = False
    padded = normalised(rgb) * mask[:, None]
    assert isw._strongly_changed(padded, mask)[:, :, 4:].abs().max() == 0


def test_wrong_pixel_statistics_are_named():
    isw = robustnet()
    isw.step([normalised(views(0)[0])], lambda: {})
    with pytest.raises(ValueError, match=r"pixel_mean, pixel_std must be those of the inputs, .* not in \[0, 1\]"):
        isw.step([100 * views(1)[0]], lambda: {})


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"trials": 3}, "statistics_steps must be at least trials = 3"),
        ({"statistics": "strange"}, "statistics must be 'views' or 'strong'"),
        ({"entries": "all"}, "entries must be 'triangle' or 'matrix'"),
        ({"pixel_std": [1, 1]}, "pixel_std must be three numbers above 0"),
        ({"clusters": 1}, "clusters must be at least 2"),
        ({"warmup_steps": 1}, "warmup_steps must be at least statistics_steps = 2"),
        ({"stages": []}, "stages must be at least one stage"),
    ],
)
def test_wrong_settings_are_named(settings, message):
    with pytest.raises(ValueError, match=message):
        build(**settings)
