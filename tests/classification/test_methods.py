"""Every method trains the miniature's classifier, from the config to the last step."""

import pytest
import torch

from gcisg_cls.mini import PROJECT, train
from gcisg_core.integrations.mmengine import build_runner
from gcisg_core.mixstyle import MixStyle
from gcisg_core.regularizers import METHODS
from tests.methods import settings_of, without_config_formatting, write_styles

from .conftest import TINY

STEPS = 4  # past the short schedules of tests.methods
SHORT = [*TINY, f"train_cfg.max_iters={STEPS}", "default_hooks.checkpoint.interval=100"]
PIPELINE = "train_dataloader.dataset.dataset.pipeline"


def overrides(method, folder):
    chosen = [f"model.regularizer.{name}={value}" for name, value in settings_of(method, folder).items()]
    return [*SHORT, f"{PIPELINE}.views=2", *chosen]


@pytest.fixture(autouse=True)
def quick(monkeypatch):
    without_config_formatting(monkeypatch)


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


CONFIG = """
_base_ = "{base}"
model = dict(changes=dict(ibn="b", mixstyle=dict(p=1.0)))
view = dict(styles=dict(folder="{styles}"), pasta=dict(alpha=3.0))
train_dataloader = dict(dataset=dict(dataset=dict(pipeline=dict(photometric=view))))
"""


def test_changes_styles_and_spectra_are_added_by_the_config(mini):
    config = mini / "mine.py"
    config.write_text(CONFIG.format(base=PROJECT / "baseline_mini.py", styles=write_styles(mini / "styles")))
    model = build_runner(config, overrides("gcisg", mini), mini / "run", 0).train()
    assert model.backbone.layer2[-1].IN.weight.shape == (32,)
    assert any(isinstance(hook, MixStyle) for hook in model.backbone.layer1._forward_hooks.values())
    assert model.regularizer.student is model.backbone
