"""Every method trains the miniature's segmentor, from the config to the last step."""

from __future__ import annotations

import math
from pathlib import Path

import pytest
import torch
from mmengine.config import Config
from mmengine.runner import Runner

from gcisg_core.mixstyle import MixStyle
from gcisg_core.regularizers import METHODS
from gcisg_suite.miniature import scenes
from gcisg_suite.miniature.network import MiniResNet
from tests.methods import settings_of, without_config_formatting, write_styles

PROJECT = Path(__file__).parents[2] / "projects" / "segmentation"
STEPS = 4  # past the short schedules of tests.methods
DENSE = {"grid": (2, 2), "per_location": True}  # for methods that have such a setting


@pytest.fixture(scope="module")
def data(tmp_path_factory) -> Path:
    root = tmp_path_factory.mktemp("data")
    scenes.prepare(root / "mini" / "scenes", train_scenes=4, eval_scenes=1, progress=False)
    torch.save(MiniResNet(num_classes=81, seed=1).state_dict(), root / "mini" / "reference.pth")
    return root


def train(data: Path, folder: Path, monkeypatch: pytest.MonkeyPatch, **changes: object) -> Runner:
    without_config_formatting(monkeypatch)
    monkeypatch.setenv("GCISG_DATA", str(data))
    config = Config.fromfile(PROJECT / "baseline_mini.py")
    short = {"train_cfg.max_iters": STEPS, "train_cfg.val_interval": 100, "default_hooks.checkpoint.interval": 100}
    small = {"train_dataloader.batch_size": 2, "model.data_preprocessor.views": 2, "default_hooks.logger.interval": 1}
    config.merge_from_dict({**short, **small, "work_dir": str(folder / "run"), **changes})
    runner = Runner.from_cfg(config)
    runner.train()
    return runner


@pytest.mark.parametrize("method", METHODS)
def test_a_run_moves_what_the_method_trains_and_its_losses_are_finite(method, data, tmp_path, monkeypatch):
    fields = METHODS[method].settings_class.__dataclass_fields__
    dense = {name: value for name, value in DENSE.items() if name in fields}
    settings = {**settings_of(method, tmp_path), **dense}
    runner = train(data, tmp_path, monkeypatch, **{"model.regularizer": settings})
    scalars = runner.message_hub.log_scalars
    losses = {name: scalar.current() for name, scalar in scalars.items() if name.startswith("train/loss")}
    assert (losses.keys() > {"train/loss"}) == (method not in ("none", "oracle"))
    assert all(math.isfinite(scalars[name].current()) for name in (*losses, "train/loss", "train/decode.loss_ce"))
    start = torch.load(data / "mini" / "reference.pth", weights_only=True)["conv1.weight"]
    assert torch.equal(runner.model.backbone.conv1.weight.cpu(), start) == (method == "oracle")


def test_changes_styles_and_spectra_are_added_by_the_config(data, tmp_path, monkeypatch):
    photometric = {"styles": {"folder": str(write_styles(tmp_path / "styles"))}, "pasta": {"alpha": 3.0}}
    runner = train(
        data,
        tmp_path,
        monkeypatch,
        **{
            "model.regularizer": {**settings_of("drpc", tmp_path)},
            "model.changes": {"ibn": "a", "mixstyle": {"p": 1.0}},
            "model.data_preprocessor.photometric": photometric,
        },
    )
    backbone = runner.model.backbone
    assert type(backbone.layer3[0].bn1).__name__ == "InstanceBatchNorm"
    assert any(isinstance(hook, MixStyle) for hook in backbone.layer1._forward_hooks.values())
    start = torch.load(data / "mini" / "reference.pth", weights_only=True)["layer3.0.bn1.weight"]
    # Plain weights were loaded into it, and it was trained from there.
    assert 0 < (backbone.layer3[0].bn1.weight - start).abs().max() < 0.2
