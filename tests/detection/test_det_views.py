"""The views of a detector's batch, and their padding."""

import copy

import pytest
import torch

pytest.importorskip("detectron2")
from gcisg_core.padding import padding_mask
from tests.detection.test_meta_arch import batch, build, count_calls, step


def test_baseline_draws_the_view_that_the_methods_task_sees():
    """The same random state gives both the same jitter, once."""
    seen = {}
    for method in ("none", "gcisg"):
        model, _ = build(*([] if method == "none" else ["REGULARIZER.TASK_VIEW", 0]), method=method)
        draws = count_calls(model.view)
        views = []
        model.backbone.register_forward_hook(lambda module, inputs, output, views=views: views.append(inputs[0]))
        step(model)
        seen[method] = views[0]
        assert len(draws) == 2 * model.regularizer.views_needed  # images x views
        plain = model.preprocess_image(batch()).tensor
        assert not torch.allclose(views[0], plain)
    assert torch.equal(seen["none"], seen["gcisg"])


def test_views_differ_in_colour_only_and_respect_the_channel_order():
    model, _ = build("INPUT.COLOR_JITTER", [0.0, 0.0, 0.0, 0.1])
    items = batch()
    torch.manual_seed(0)
    bgr = model._draw(items, model.view)
    assert not torch.allclose(bgr[0]["image"], items[0]["image"].float(), atol=1)
    assert all(a["instances"] is b["instances"] for a, b in zip(bgr, items, strict=True))
    model.is_bgr = False
    torch.manual_seed(0)
    rgb = model._draw([{**item, "image": item["image"].flip(0)} for item in items], model.view)
    assert all(torch.equal(a["image"], b["image"].flip(0)) for a, b in zip(bgr, rgb, strict=True))


def draw(*overrides):
    """The views that the method sees, and the batch as the plain detector makes it."""
    model, _ = build(*overrides)
    seen = []
    model.regularizer.observer = lambda views, features: seen.extend(views)
    step(model)
    return seen, model.preprocess_image(batch()).tensor


STILL = [
    item
    for name in ("BRIGHTNESS", "CONTRAST", "SATURATION", "HUE", "BLUR")
    for item in (f"REGULARIZER.OTHER_VIEW.{name}", 0.0)
]


@pytest.mark.parametrize("task_view", [0, 1])
def test_the_other_view_is_the_tasks_or_the_image_in_another_style(task_view):
    def views(*chosen):
        seen, plain = draw("REGULARIZER.TASK_VIEW", task_view, *chosen)
        assert len(seen) == 2
        return seen[task_view], seen[1 - task_view], plain

    task, other, plain = views("REGULARIZER.OTHER_VIEW", "identical")
    assert torch.equal(task, other)
    task, other, _ = views("REGULARIZER.OTHER_VIEW", "style_only", "INPUT.COLOR_JITTER", [0.0] * 4)
    assert torch.equal(task, plain)
    assert not torch.allclose(other, plain, atol=1e-3)
    task, other, _ = views(*STILL)
    assert not torch.allclose(task, plain, atol=1e-3)
    torch.testing.assert_close(other, plain, rtol=0, atol=1e-4)


@pytest.mark.parametrize("method", ["gcisg", "csg"])
def test_padding_does_not_enter_the_method(method):
    model, _ = build("INPUT.COLOR_JITTER", [0.0, 0.0, 0.0, 0.0], method=method)
    clean, _ = step(copy.deepcopy(model))
    mask = padding_mask(torch.zeros(2, 3, 96, 96), [(64, 96), (96, 64)])

    def spoil(module, inputs, output):
        padded = ~mask[:, ::32, ::32].unsqueeze(1).expand_as(output)
        return output.masked_fill(padded, 1e3)

    student = model.regularizer.student
    model.regularizer.init_from_student()
    for network in (student, *(m for m in model.regularizer.modules() if hasattr(m, "res5"))):
        network.res5.register_forward_hook(spoil)
    spoilt, _ = step(model)
    names = [name for name in clean if name.endswith("stage4")]
    assert names
    assert not torch.allclose(spoilt["loss_rpn_cls"], clean["loss_rpn_cls"])  # the padding was spoilt indeed
    assert all(torch.allclose(spoilt[name], clean[name], atol=1e-6) for name in names)


def test_padding_mask_has_the_true_sizes():
    mask = padding_mask(torch.zeros(2, 3, 8, 12), [(8, 6), (4, 12)])
    assert [int(part.sum()) for part in mask] == [8 * 6, 4 * 12]
    assert mask[0, :, :6].all()
    assert mask[1, :4].all()
    assert padding_mask(torch.zeros(1, 3, 8, 12), [(8, 12)]) is None
