"""The other view in classification: made in the preprocessor, of the image that the pipeline drew and cut."""

import pytest
import torch

from gcisg_cls.classifier import SynToRealClassifier
from gcisg_cls.mini import PROJECT
from gcisg_core.integrations.mmengine import load_config
from tests.fake_cuda import finish_step, no_waiting, on_fake_cuda
from tests.methods import SMALL

STILL = {"brightness": 0.0, "contrast": 0.0, "saturation": 0.0, "hue": 0.0, "blur": 0.0}


def draw(drawn=1, **settings):
    """The views that the backbone sees, and the batch as the data drew it."""
    small = {name: SMALL[name] for name in ("queue_length", "embedding_dim")}
    model = SynToRealClassifier("mini_resnet", 3, hidden=0, regularizer={"method": "gcisg", **small, **settings})
    generator = torch.Generator().manual_seed(0)
    images = [torch.randint(256, (2, 3, 32, 32), dtype=torch.uint8, generator=generator) for _ in range(drawn)]
    batch = model.data_preprocessor({"inputs": images, "label": torch.tensor([0, 1])}, True)
    seen = []
    model.regularizer.observer = lambda views, features: seen.extend(views)
    losses = model(**batch, mode="loss")
    assert losses["loss_ci_stage4"].isfinite()
    return seen, model.data_preprocessor({"inputs": images}, True)["inputs"], images


@pytest.mark.parametrize("task_view", [0, 1])
@pytest.mark.parametrize("drawn", [1, 2])  # as load_config has it, and as mmengine's own runner
def test_identical_views_are_equal(task_view, drawn):
    views, _, _ = draw(drawn, other_view="identical", task_view=task_view)
    assert len(views) == 2
    assert torch.equal(*views)


@pytest.mark.parametrize("task_view", [0, 1])
def test_the_other_view_shares_the_geometry_and_the_tasks_stays(task_view):
    (same, _), _, _ = draw(2)
    for change, equal in ((STILL, True), ("style_only", False)):
        views, _, _ = draw(1, other_view=change, task_view=task_view)
        task, other = views[task_view], views[1 - task_view]
        torch.testing.assert_close(task, same, rtol=0, atol=0)
        assert torch.allclose(other, task, atol=1e-5) == equal


def test_changes_keep_full_precision_under_autocast():
    found = []
    for enabled in (False, True):
        torch.manual_seed(0)
        with torch.autocast("cpu", dtype=torch.bfloat16, enabled=enabled):
            model = SynToRealClassifier("mini_resnet", 3, regularizer={"method": "csg", "other_view": "style_only"})
            torch.manual_seed(0)
            found.append(model.data_preprocessor({"inputs": [torch.full((2, 3, 32, 32), 99).byte()]}, True)["inputs"])
    assert all(torch.equal(*views) for views in zip(*found, strict=True))


def test_the_pipeline_draws_the_tasks_view_alone():
    for chosen, views in (([], 2), (["model.regularizer.other_view=style_only"], 1)):
        config = load_config(str(PROJECT / "gcisg_mini.py"), chosen)
        assert config.train_dataloader.dataset.dataset.pipeline.views == views


def test_a_step_stays_on_the_gpu():
    small = {name: SMALL[name] for name in ("queue_length", "embedding_dim")}
    model = SynToRealClassifier("mini_resnet", 3, regularizer={"method": "gcisg", **small})
    views, label = [torch.rand(2, 3, 32, 32) for _ in range(2)], torch.tensor([0, 1])
    model(views, label, mode="loss")  # what the first step does
    with on_fake_cuda(model) as move:
        views, label = [move(view) for view in views], move(label)
        with no_waiting():
            losses = model(views, label, mode="loss")
            finish_step(model, model.regularizer)
    assert {value.device.type for value in losses.values()} == {"cuda"}
