"""Every method trains the miniature's classifier, from the config to the last step."""

import pytest
import torch
from mmengine.runner import Runner

from gcisg_cls.mini import PROJECT, train
from gcisg_core.integrations.mmengine import build_runner, load_config
from gcisg_core.mixstyle import MixStyle
from gcisg_core.regularizers import METHODS
from tests.methods import SMALL, settings_of, write_styles

from .conftest import TINY

STEPS = 4  # past the short schedules of tests.methods
SHORT = [*TINY, f"train_cfg.max_iters={STEPS}", "default_hooks.checkpoint.interval=100"]
PIPELINE = "train_dataloader.dataset.dataset.pipeline"


def overrides(method, folder):
    chosen = [f"model.regularizer.{name}={value}" for name, value in settings_of(method, folder).items()]
    return [*SHORT, *chosen]


@pytest.mark.parametrize("method", METHODS)
def test_a_run_moves_what_the_method_trains_and_its_losses_are_finite(method, mini):
    reference = torch.load(mini / "data/mini/reference.pth", weights_only=True)
    runner, model = train("baseline_mini", mini / "run", overrides(method, mini))
    logged = runner.message_hub.log_scalars
    losses = {name: scalar.current() for name, scalar in logged.items() if name.startswith("train/loss")}
    assert losses.keys() > {"train/loss", "train/loss_task"} or method in ("none", "oracle")
    assert all(torch.tensor(value).isfinite() for value in losses.values())
    trained = not torch.equal(model.backbone.conv1.weight.cpu(), reference["conv1.weight"])
    assert trained == (method != "oracle")
    assert runner.train_dataloader.dataset.dataset.pipeline.views == model.regularizer.views_needed


@pytest.mark.parametrize("config", ["baseline_mini", "baseline_r101_visda17", "own_data", "cbst_mini"])
def test_a_method_is_the_only_override_that_a_baseline_needs(config, tmp_path):
    views = {}
    for method in METHODS:
        own = {key: value for key, value in settings_of(method, tmp_path).items() if key not in SMALL}
        given = [f"model.regularizer.{key}={value}" for key, value in own.items()]
        data = load_config(str(PROJECT / f"{config}.py"), given).train_dataloader.dataset.dataset
        parts = (data, data.source) if "source" in data else (data,)
        (views[method],) = {part.pipeline.views for part in parts}
    assert {method for method, count in views.items() if count == 2} >= {"csg", "gcisg", "guided", "isw", "drpc"}
    assert views["none"] == views["asg"] == 1


def test_mmengines_own_runner_draws_enough_views_for_each_method(mini, monkeypatch):
    monkeypatch.setattr(
        "gcisg_core.integrations.mmengine.read.derive_views", lambda config: None
    )  # as of `Config.fromfile`
    config = load_config(str(PROJECT / "baseline_mini.py"), overrides("csg", mini))
    assert config.train_dataloader.dataset.dataset.pipeline.views is None
    config.work_dir = str(mini / "run")
    runner = Runner.from_cfg(config)
    runner.train()
    assert runner.message_hub.log_scalars["train/loss_csg_stage4"].current() > 0


def test_too_few_views_end_before_training_with_the_key(mini):
    message = f"^{PIPELINE}.views is 1, but the method 'csg' .*needs 2 views of each image. Leave {PIPELINE}.views out"
    with pytest.raises(ValueError, match=message):
        build_runner(PROJECT / "baseline_mini.py", [*overrides("csg", mini), f"{PIPELINE}.views=1"], mini / "run")


def test_a_view_that_no_loss_looks_at_changes_nothing(mini):
    guidance = [*overrides("gcisg", mini), "model.regularizer.lambda_ci=0.0"]
    states = []
    for name, views in (("derived", []), ("stated", [f"{PIPELINE}.views=2"])):
        runner, model = train("baseline_mini", mini / name, [*guidance, *views])
        assert runner.train_dataloader.dataset.dataset.pipeline.views == 1 + len(views)
        states.append(model.state_dict())
    assert all(torch.equal(value, states[1][name]) for name, value in states[0].items())


CONFIG = """
_base_ = "{base}"
model = dict(backbone_plugins=dict(ibn="b", mixstyle=dict(p=1.0)))
view = dict(styles=dict(folder="{styles}"), pasta=dict(alpha=3.0))
train_dataloader = dict(dataset=dict(dataset=dict(pipeline=dict(photometric=view))))
"""


def test_changes_styles_and_spectra_are_added_by_the_config(mini):
    config = mini / "mine.py"
    config.write_text(CONFIG.format(base=PROJECT / "baseline_mini.py", styles=write_styles(mini / "styles")))
    model = build_runner(config, overrides("gcisg", mini), mini / "run", 0).train()
    assert model.backbone.layer2[-1].IN.weight.shape == (48,)
    assert any(isinstance(hook, MixStyle) for hook in model.backbone.layer1._forward_hooks.values())
    assert model.regularizer.student is model.backbone
