"""How the view beside the task's is made: presets, arguments, and settings that contradict each other."""

import pytest
import torch

from gcisg_core.other_view import STRONG, OtherView
from gcisg_core.regularizers import read_method, settle_views
from gcisg_core.views import PhotometricView


def other(value, **settings):
    return OtherView(read_method({"method": "csg", "other_view": value, **settings})[1])


def draw(value, count=2, **settings):
    """The views of two images, each the number of the task's draws so far or the images changed."""
    drawn = []

    def own(view):
        drawn.append(view)
        return torch.full((2, 3, 8, 8), 0.25)

    views = other(value, **settings).views(count, own, lambda change: change(torch.rand(2, 3, 8, 8)))
    return views, drawn


@pytest.mark.parametrize("task_view", [0, 1])
def test_the_task_draws_every_view_or_its_own_alone(task_view):
    views, drawn = draw("same", task_view=task_view)
    assert drawn == [0, 1]
    assert views[0] is not views[1]
    views, drawn = draw("identical", task_view=task_view)
    assert drawn == [task_view]
    assert views[0] is views[1]
    for value in ("style_only", "style_pasta", {"hue": 0.0}):
        views, drawn = draw(value, task_view=task_view)
        assert drawn == [task_view]
        assert views[task_view].unique() == 0.25
        assert not torch.allclose(views[1 - task_view][0], views[1 - task_view][1])


def test_one_view_is_the_tasks_and_further_ones_are_drawn_anew():
    assert len(draw("style_only", count=1)[0]) == 1
    task, first, second = draw("style_only", count=3)[0]
    assert not torch.allclose(first, second)
    assert task.unique() == 0.25


def test_arguments_replace_those_of_style_only():
    jitter, blur = other("style_only").change.transform
    expected = PhotometricView(**STRONG).transform
    assert str(jitter) == str(expected[0])
    assert blur.p == STRONG["blur"]
    weak = other({"hue": 0.1, "blur": 0.0, "pasta": {"alpha": 2.0}}).change
    assert weak.pasta.alpha == 2.0
    assert len(weak.transform) == 1
    assert weak.transform[0].hue == (-0.1, 0.1)
    assert weak.transform[0].brightness == jitter.brightness
    assert other("style_pasta").change.pasta is not None
    assert other("style_only").change.pasta is None


@pytest.mark.parametrize(
    ("value", "message"),
    [
        ("style_onli", "unknown other_view 'style_onli'. Did you mean 'style_only'"),
        ({"colour": 0.3}, "unknown argument of other_view 'colour'.*Valid: blur, brightness"),
        (1, "other_view must be a str, got 1"),
    ],
)
def test_an_unknown_form_is_named(value, message):
    with pytest.raises(ValueError, match=message):
        read_method({"method": "gcisg", "other_view": value})


@pytest.mark.parametrize(
    "values", [{"method": "none"}, {"method": "gcisg", "lambda_ci": 0.0}, {"method": "isw", "preset": "robustnet"}]
)
def test_a_method_that_looks_at_one_view_has_no_other(values):
    method = values["method"]
    with pytest.raises(ValueError, match=f"other_view is 'identical', but the method '{method}' .*looks at one view"):
        read_method({**values, "other_view": "identical"})
    assert read_method({**values, "other_view": "same"})[1].views_drawn == 1


def test_the_tasks_transform_draws_one_view_where_the_other_has_its_own():
    for value, drawn in (("same", 2), ("style_only", 1)):
        values = {"method": "csg", "other_view": value}
        assert settle_views(None, values, "views", "method") == 2
        assert settle_views(None, values, "views", "method", by_task=True) == drawn
