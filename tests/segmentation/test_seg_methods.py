"""Every method trains the miniature's segmentor, from the config to the last step."""

from __future__ import annotations

import math
from pathlib import Path

import pytest
import torch
from mmengine.runner import Runner

from gcisg_core.integrations.mmengine import build_runner, load_config
from gcisg_core.mixstyle import MixStyle
from gcisg_core.regularizers import METHODS
from gcisg_suite.miniature import scenes
from gcisg_suite.miniature.network import MiniResNet
from tests.methods import SMALL, settings_of, write_styles

PROJECT = Path(__file__).parents[2] / "projects" / "segmentation"
BASELINE = PROJECT / "baseline_mini.py"
STEPS = 4  # past the short schedules of tests.methods
DENSE = {"patches": (2, 2), "per_location": True}  # for methods that have such a setting


@pytest.fixture(scope="module")
def data(tmp_path_factory) -> Path:
    root = tmp_path_factory.mktemp("data")
    scenes.prepare(root / "mini" / "scenes", train_scenes=4, eval_scenes=1, progress=False)
    torch.save(MiniResNet(num_classes=81, seed=1).state_dict(), root / "mini" / "reference.pth")
    return root


def train(
    data: Path,
    folder: Path,
    monkeypatch: pytest.MonkeyPatch,
    regularizer: dict[str, object],
    config: Path = BASELINE,
    **changes: object,
) -> Runner:
    monkeypatch.setenv("GCISG_DATA", str(data))
    short = {"train_cfg.max_iters": STEPS, "train_cfg.val_interval": 100, "default_hooks.checkpoint.interval": 100}
    small = {"train_dataloader.batch_size": 2, "default_hooks.logger.interval": 1}
    method = {f"model.regularizer.{key}": value for key, value in regularizer.items()}
    overrides = [f"{key}={value}" for key, value in {**short, **small, **method, **changes}.items()]
    runner = build_runner(config, overrides, folder / "run")
    runner.train()
    return runner


@pytest.mark.parametrize("method", METHODS)
def test_a_run_moves_what_the_method_trains_and_its_losses_are_finite(method, data, tmp_path, monkeypatch):
    fields = METHODS[method].settings_class.__dataclass_fields__
    dense = {name: value for name, value in DENSE.items() if name in fields}
    settings = {**settings_of(method, tmp_path), **dense}
    runner = train(data, tmp_path, monkeypatch, settings)
    scalars = runner.message_hub.log_scalars
    losses = {name: scalar.current() for name, scalar in scalars.items() if name.startswith("train/loss")}
    assert (losses.keys() > {"train/loss"}) == (method not in ("none", "oracle"))
    assert all(math.isfinite(scalars[name].current()) for name in (*losses, "train/loss", "train/decode.loss_ce"))
    start = torch.load(data / "mini" / "reference.pth", weights_only=True)["conv1.weight"]
    assert torch.equal(runner.model.backbone.conv1.weight.cpu(), start) == (method == "oracle")
    assert runner.model.data_preprocessor.views == runner.model.regularizer.views_needed


@pytest.mark.parametrize("config", ["baseline_mini", "baseline_r50_deeplabv3_gtav2cityscapes", "own_data"])
def test_a_method_is_the_only_override_that_a_baseline_needs(config, tmp_path):
    views = {}
    for method in METHODS:
        own = {key: value for key, value in settings_of(method, tmp_path).items() if key not in SMALL}
        given = [f"model.regularizer.{key}={value}" for key, value in own.items()]
        views[method] = load_config(str(PROJECT / f"{config}.py"), given).model.data_preprocessor.views
    assert {method for method, count in views.items() if count == 2} >= {"csg", "gcisg", "guided", "isw", "drpc"}
    assert views["none"] == views["asg"] == 1


CONFIG = """
_base_ = "{base}"
photometric = dict(styles=dict(folder="{styles}"), pasta=dict(alpha=3.0))
changes = dict(ibn="a", mixstyle=dict(p=1.0))
model = dict(backbone_plugins=changes, data_preprocessor=dict(photometric=photometric))
"""


def test_changes_styles_and_spectra_are_added_by_the_config(data, tmp_path, monkeypatch):
    config = tmp_path / "mine.py"
    config.write_text(CONFIG.format(base=BASELINE, styles=write_styles(tmp_path / "styles")))
    runner = train(data, tmp_path, monkeypatch, {"method": "drpc"}, config)
    backbone = runner.model.backbone
    assert type(backbone.layer3[0].bn1).__name__ == "InstanceBatchNorm"
    assert any(isinstance(hook, MixStyle) for hook in backbone.layer1._forward_hooks.values())
    start = torch.load(data / "mini" / "reference.pth", weights_only=True)["layer3.0.bn1.weight"]
    # Plain weights were loaded into it, and it was trained from there.
    assert 0 < (backbone.layer3[0].bn1.weight - start).abs().max() < 0.2
