"""How many views a step needs: answered from the settings, the same as what a built method uses."""

from dataclasses import dataclass

import pytest
import torch

from gcisg_core.config import Settings
from gcisg_core.regularizers import METHODS, Regularizer, build_regularizer, read_method, settle_views
from gcisg_suite.miniature.network import MiniResNet
from tests.methods import settings_of

COMPARING = {"csg", "gcisg", "guided", "isw", "drpc"}
ALONE = {"none", "oracle", "weight_l2", "si", "feature_l2", "asg"}
VARIANTS = [
    *((method, {}, 2) for method in sorted(COMPARING)),
    *((method, {}, 1) for method in sorted(ALONE)),
    *((method, {}, None) for method in METHODS if method not in COMPARING | ALONE),  # whatever its settings say
    *((method, {"task_view": 1}, 2) for method in METHODS),
    ("gcisg", {"lambda_ci": 0.0}, 1),
    ("gcisg", {"lambda_ci": (0.0, 0.0)}, 1),
    ("gcisg", {"lambda_ci": (0.0, 0.5)}, 2),
    ("gcisg", {"stages_ci": ()}, 1),
    ("gcisg", {"lambda_guidance": 0.0}, 2),
    ("gcisg", {"lambda_guidance": 0.0, "lambda_ci": 0.0}, 1),
    ("gcisg", {"lambda_ci": 0.0, "task_view": 1}, 2),
    ("gcisg", {"preset": "official", "lambda_ci": 0.0}, 2),
    ("guided", {"lambda_ci": 0.0}, 1),
    ("csg", {"lambda_csg": 0.0}, 1),
    ("csg", {"pooling": "global_average"}, 2),
    ("drpc", {"lambda_across": 0.0}, 1),
    ("drpc", {"lambda_within": 0.0}, 2),
    ("isw", {"lambda_isw": 0.0}, 2),
    ("isw", {"warmup_steps": 1}, 2),  # its first step compares the views
    ("feature_l2", {"lambda_feature_l2": 0.0}, 1),
]


@pytest.mark.remedy("use the pipeline or preprocessor of the project, which draws as many as the method needs")
@pytest.mark.parametrize(("method", "changes", "needed"), VARIANTS)
def test_the_settings_know_how_many_views_a_step_uses(method, changes, needed, tmp_path):
    values = {**settings_of(method, tmp_path), **changes}
    needed = needed or read_method(values)[1].views_needed
    assert read_method(values)[1].views_needed == needed
    regularizer = build_regularizer(MiniResNet(num_classes=5), values)
    assert regularizer.views_needed == len(regularizer.taps) == needed
    drawn = settle_views(None, values, "data.views", "method")  # what pipelines and preprocessors draw
    views = [torch.rand(4, 3, 32, 32) for _ in range(drawn)]
    losses, _ = regularizer.step(views, lambda: {"loss_task": regularizer.student(views[-1]).mean()})
    assert all(loss.isfinite() for loss in losses.values())
    with pytest.raises(ValueError, match=f"needs {needed} views of each image, got {needed - 1}"):
        regularizer.step(views[1:], dict)


@pytest.mark.parametrize(
    ("stated", "method", "settled"),
    [(None, "none", 1), (None, "csg", 2), (2, "csg", 2), (3, "csg", 3), (2, "none", 2), (1, "none", 1), (0, "none", 0)],
)
def test_the_method_decides_and_more_views_than_needed_stay(stated, method, settled):
    assert settle_views(stated, {"method": method}, "data.views", "method") == settled


@pytest.mark.remedy("Leave {} out, so that it follows the method, or set it to {} or more")
@pytest.mark.parametrize("stated", [0, 1])
def test_too_few_views_are_an_error_that_names_both_keys_and_the_way_out(stated):
    message = (
        rf"^data.views is {stated}, but the method 'csg' \(model.method\) with its settings needs 2 views of each "
        r"image. Leave data.views out, so that it follows the method, or set it to 2 or more$"
    )
    with pytest.raises(ValueError, match=message):
        settle_views(stated, {"method": "csg"}, "data.views", "model.method")
    for followed in (None, 2):
        assert settle_views(followed, {"method": "csg"}, "data.views", "model.method") == 2


def test_a_method_that_taps_more_views_than_its_settings_say_is_refused(monkeypatch):
    class Forgetful(Regularizer):
        def __init__(self, student, settings):
            super().__init__(student, settings)
            self.taps = [None, None]

    @dataclass(frozen=True)
    class Mended(Settings):
        views_needed = 2

    monkeypatch.setitem(METHODS, "forgetful", Forgetful)
    with pytest.raises(ValueError, match="Forgetful taps 2 views, but views_needed of Settings is 1"):
        build_regularizer(MiniResNet(num_classes=5), {"method": "forgetful"})
    monkeypatch.setattr(Forgetful, "settings_class", Mended)
    assert build_regularizer(MiniResNet(num_classes=5), {"method": "forgetful"}).views_needed == 2
