"""Pyramid consistency against a form written cell by cell in float64."""

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from gcisg_core.regularizers import build_regularizer
from gcisg_core.regularizers.drpc import crop, random_box


class Student(nn.Module):
    def __init__(self):
        super().__init__()
        torch.manual_seed(0)
        self.layer3 = nn.Conv2d(3, 4, 3, stride=2, padding=1)
        self.layer4 = nn.Conv2d(4, 5, 3, stride=2, padding=1)

    def forward(self, x):
        return self.layer4(self.layer3(x))

    def maps(self, x):
        third = self.layer3(x)
        return {3: third, 4: self.layer4(third)}


def build(**settings):
    values = {"stage_locations": {3: "layer3", 4: "layer4"}, **settings}
    return build_regularizer(Student().double(), {"method": "drpc", **values}).double()


def views(count=2):
    return [torch.rand(2, 3, 16, 16, generator=torch.Generator().manual_seed(i)).double() for i in range(count)]


def step(drpc, given, mask=None):
    view = given[drpc.settings.task_view]
    return drpc.step(given, lambda: {"loss_task": drpc.student(view).sum() * 0}, mask)


def cell_means(maps, cells):
    """Mean of every channel of every cell of every image."""
    height, width = (size // cells for size in maps.shape[2:])
    return torch.stack(
        [
            image[:, r * height : (r + 1) * height, c * width : (c + 1) * width].mean(dim=(1, 2))
            for image in maps
            for r in range(cells)
            for c in range(cells)
        ]
    )


def slow_across(maps, levels):
    """Mean over levels of the mean distance of each style's cells to the mean over the styles."""
    values = []
    for cells in levels:
        styles = torch.stack([cell_means(style, cells) for style in maps])
        values.append((styles - styles.mean(dim=0)).abs().mean())
    return torch.stack(values).mean()


@pytest.mark.parametrize("task_view", [0, 1])
def test_losses_are_those_of_the_paper(task_view):
    drpc = build(lambda_across=[2.0, 3.0], lambda_within=[0.0, 5.0], task_view=task_view)
    torch.manual_seed(4)
    losses, _ = step(drpc, views())
    maps = [drpc.student.maps(view) for view in views()]
    # Stage 3 has 8 x 8 positions, stage 4 has 4 x 4, too few for the level of 8 x 8 cells.
    for stage, weight, levels in ((3, 2.0, (1, 2, 4, 8)), (4, 3.0, (1, 2, 4))):
        expected = weight * slow_across([m[stage] for m in maps], levels)
        torch.testing.assert_close(losses[f"loss_drpc_across_stage{stage}"], expected)
    torch.manual_seed(4)
    box = random_box(0.5)
    enlarged = drpc.student.maps(crop(views()[task_view], box))[4]
    region = crop(maps[task_view][4], box)
    differences = [(cell_means(enlarged, n) - cell_means(region, n)).abs().mean() for n in (1, 2, 4)]
    torch.testing.assert_close(losses["loss_drpc_within_stage4"], 5 * torch.stack(differences).mean())
    assert "loss_drpc_within_stage3" not in losses


def test_equal_views_and_a_whole_crop_cost_nothing():
    drpc = build(smallest_crop=1.0)
    losses, _ = step(drpc, [views(1)[0]] * 2)
    assert losses["loss_drpc_across_stage4"].item() == 0
    assert losses["loss_drpc_within_stage4"].item() == pytest.approx(0, abs=1e-9)


def test_a_crop_is_the_enlarged_window():
    image = torch.rand(1, 2, 8, 8).double()
    upper_left = crop(image, torch.tensor([0.5, -0.5, -0.5]))
    expected = F.interpolate(image[:, :, :4, :4], scale_factor=2, mode="bilinear", align_corners=False)
    torch.testing.assert_close(upper_left[:, :, :7, :7], expected[:, :, :7, :7])  # the edge sees its neighbours
    torch.testing.assert_close(crop(image, torch.tensor([1.0, 0.0, 0.0])), image)


def test_boxes_stay_inside_the_image():
    for seed in range(50):
        torch.manual_seed(seed)
        edge, x, y = random_box(0.5)
        assert 0.5 <= edge <= 1
        assert max(abs(x), abs(y)) + edge <= 1 + 1e-9


def test_each_part_can_be_turned_off():
    within = build(lambda_across=0.0)
    assert within.views_needed == 1
    assert step(within, views(1))[0].keys() == {"loss_task", "loss_drpc_within_stage3", "loss_drpc_within_stage4"}
    nothing = build(lambda_across=0.0, lambda_within=0.0)
    assert step(nothing, views(1))[0].keys() == {"loss_task"}


def values(terms):
    return {name: loss.item() for name, loss in terms.losses.items()}


def test_padding_has_no_influence():
    drpc = build(lambda_within=0.0)
    mask = torch.ones(2, 16, 16, dtype=torch.bool)
    mask[1, 8:] = False
    maps = [drpc.student.maps(view) for view in views()]
    clean = values(drpc(views(), maps, mask))
    for part in (maps[0][3], maps[0][4]):
        part.data[1, :, part.shape[2] // 2 :] += 9.0
    assert values(drpc(views(), maps, mask)) == pytest.approx(clean)
    assert values(drpc(views(), maps)) != pytest.approx(clean)


@pytest.mark.parametrize(
    ("settings", "message"),
    [({"pyramid": [2]}, "pyramid must be"), ({"smallest_crop": 0.0}, "smallest_crop"), ({"stages": [7]}, "stages")],
)
def test_wrong_settings_are_named(settings, message):
    with pytest.raises(ValueError, match=message):
        build(**settings)
