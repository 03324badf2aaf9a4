"""The shipped configs: settings of the paper, and a shrunk run of each kind on tiny folders."""

from __future__ import annotations

import math
from pathlib import Path

import pytest
import torch
import torchvision
from mmengine.config import Config
from mmengine.registry import init_default_scope
from mmengine.runner import Runner
from mmseg.registry import MODELS

from gcisg_core.integrations.mmengine import load_config

PROJECT = Path(__file__).parents[2] / "projects" / "segmentation"
CONFIGS = sorted(PROJECT.glob("*.py"), key=lambda path: path.name)
R50 = PROJECT / "baseline_r50_deeplabv3_gtav2cityscapes.py"


@pytest.fixture(autouse=True)
def _data_from_tmp(tmp_path, monkeypatch):
    monkeypatch.setenv("GCISG_DATA", str(tmp_path / "data"))


def drop(config: Config, *keys: str) -> None:
    for key in keys:  # Config has no `del` by attribute
        config.pop(key)


def shrink(config: Config, work_dir: Path) -> Config:
    """The same config with a small net, a small crop and two iterations on the CPU."""
    crop = (32, 32)
    config.merge_from_dict(
        {
            "model.backbone": {"depth": 18, "stem_channels": 8, "base_channels": 8, "init_cfg": None},
            "model.decode_head": {"in_channels": 64},
            "model.data_preprocessor.size": crop,
            "train_dataloader": {"batch_size": 2, "num_workers": 0, "persistent_workers": False},
            "val_dataloader": {"num_workers": 0, "persistent_workers": False},
            "train_cfg": {"max_iters": 2, "val_interval": 2},
            "default_hooks.checkpoint.interval": 2,
            "default_hooks.logger.interval": 1,
            "work_dir": str(work_dir),
        }
    )
    if config.model.decode_head.type == "ASPPHead":  # the width of torchvision's is fixed
        config.merge_from_dict({"model.decode_head.channels": 8})
    if config.model.auxiliary_head:
        config.merge_from_dict({"model.auxiliary_head": {"in_channels": 32, "channels": 8}})
    pipeline = config.train_dataloader.dataset.dataset.pipeline
    pipeline[2].scale, pipeline[3].crop_size = (96, 64), crop
    drop(config, "test_dataloader", "test_cfg", "test_evaluator")
    return config


@pytest.mark.parametrize("path", CONFIGS, ids=lambda path: path.stem)
def test_child_config_is_short_and_loads(path):
    assert len(path.read_text().splitlines()) <= 15
    classes = 9 if path.stem.endswith("_mini") else 19
    assert Config.fromfile(path).model.decode_head.num_classes == classes


def test_recipe_of_the_paper():
    config = Config.fromfile(R50)
    assert config.train_cfg.max_iters == 124_800
    assert config.param_scheduler[0].end == 124_800
    assert config.train_dataloader.batch_size == 8
    assert config.optim_wrapper.optimizer == {"type": "SGD", "lr": 1e-3, "momentum": 0.9, "weight_decay": 5e-4}
    assert config.model.test_cfg.mode == "whole"
    assert not any("Resize" in step.type for step in config.val_dataloader.dataset.pipeline)


@pytest.mark.parametrize(
    ("method", "settings"),
    [("gcisg", {"preset": "official"})],
)
def test_a_method_differs_from_the_baseline_in_regularizer_and_derived_views_only(method, settings):
    baseline, config = load_config(str(R50), []), load_config(str(R50).replace("baseline", method), [])
    assert (baseline.model.data_preprocessor.views, config.model.data_preprocessor.views) == (1, 2)
    assert config.model.regularizer == {"method": method, "patches": (8, 8), **settings}
    config.model.data_preprocessor.views, config.model.regularizer = 1, baseline.model.regularizer
    assert config.to_dict() == baseline.to_dict()


def test_csg_and_asg_have_the_values_of_their_authors_code():
    csg = Config.fromfile(str(R50).replace("baseline", "csg"))
    asg = Config.fromfile(str(R50).replace("baseline", "asg_in_csg"))
    schedule = {"type": "WarmupPolyLR", "end": 100_000, "warmup": 100, "power": 0.9}
    assert (csg.param_scheduler, asg.param_scheduler) == ([schedule], [{**schedule, "hold_after": 0.8}])
    for config in (csg, asg):
        assert config.train_cfg.max_iters == 100_000
        assert config.train_dataloader.batch_size == 6
        assert config.optim_wrapper.optimizer == {"type": "SGD", "lr": 1e-3, "momentum": 0.9, "weight_decay": 5e-4}
        assert config.model.backbone.norm_cfg == {"type": "BN", "requires_grad": False}
        assert config.model.auxiliary_head is None
        _, _, scale, crop, flip, _ = config.train_dataloader.dataset.dataset.pipeline
        assert (scale.ratio_range, crop.crop_size, flip.prob) == ((0.75, 1.25), (512, 512), 0.5)
        assert "cat_max_ratio" not in crop
    assert csg.model.regularizer == {"method": "csg", "patches": (8, 8), "lambda_csg": 75.0}
    assert asg.model.regularizer.lambda_asg == 75.0
    assert csg.model.data_preprocessor.photometric == {"hue": 0.4}  # beside our .4 of the other three
    assert csg.model.data_preprocessor.plain_views == (0,)
    assert asg.model.data_preprocessor.views == 0


def test_csg_trains_what_its_code_trains(gtav, cityscapes, tmp_path):
    config = shrink(load_config(str(R50).replace("baseline", "csg"), []), tmp_path / "run")
    config.merge_from_dict({"model.regularizer": {"queue_length": 300, "patches": (2, 2)}})
    runner = Runner.from_cfg(config)
    runner.model.init_weights()
    before = {name: value.detach().clone() for name, value in runner.model.state_dict().items()}
    runner.train()
    changed = {name for name, value in runner.model.state_dict().items() if not torch.equal(before[name], value)}
    modules = dict(runner.model.named_modules())
    norms = {name for name, module in modules.items() if isinstance(module, torch.nn.BatchNorm2d)}
    assert {name.partition(".")[0] for name in changed} == {"backbone", "decode_head", "regularizer"}
    assert not {name for name in changed if name.rpartition(".")[0] in norms and name.startswith("backbone")}
    assert any(name.endswith("running_mean") for name in changed)
    assert not {name for name in changed if name.startswith(("regularizer.projectors", "regularizer.average.module"))}
    trained = [group for group in runner.optim_wrapper.param_groups if group["lr"]]
    assert len({round(group["lr"] / group["initial_lr"], 9) for group in trained}) == 1  # one schedule for all groups
    groups = {round(group["initial_lr"], 9) for group in runner.optim_wrapper.param_groups}
    assert groups == {0.0, 1e-4, 1e-3}


def test_backbone_takes_torchvisions_weights_and_has_stride_8():
    config = Config.fromfile(R50)
    init_default_scope("mmseg")
    backbone = MODELS.build(config.model.backbone)
    report = backbone.load_state_dict(torchvision.models.resnet50().state_dict(), strict=False)
    assert report.missing_keys == []
    assert report.unexpected_keys == ["fc.weight", "fc.bias"]
    backbone.eval()  # not chained: mmseg's ResNet.train() returns None
    with torch.no_grad():
        maps = backbone(torch.zeros(1, 3, 64, 64))
    assert [tuple(m.shape[1:]) for m in maps] == [(256, 16, 16), (512, 8, 8), (1024, 8, 8), (2048, 8, 8)]


@pytest.mark.parametrize("method", ["baseline", "gcisg", "csg"])
def test_r101_differs_in_depth_and_weights_only(method):
    path = str(R50).replace("baseline", method)
    r50, r101 = Config.fromfile(path), Config.fromfile(path.replace("r50", "r101"))
    assert (r101.model.backbone.depth, r101.model.backbone.init_cfg.checkpoint) == (101, "torchvision://resnet101")
    r101.merge_from_dict({"model.backbone.depth": 50, "model.backbone.init_cfg": r50.model.backbone.init_cfg})
    assert r101.to_dict() == r50.to_dict()


def test_baseline_trains_and_is_evaluated(gtav, cityscapes, tmp_path):
    runner = Runner.from_cfg(shrink(load_config(str(R50), []), tmp_path / "run"))
    before = runner.model.backbone.conv1.weight.detach().clone()
    runner.train()
    scalars = runner.message_hub.log_scalars
    assert not torch.equal(before, runner.model.backbone.conv1.weight)
    assert math.isfinite(scalars["train/loss"].current())
    assert scalars["val/mIoU"].current() == scalars["val/cityscapes/mIoU"].current()
    assert 0 <= scalars["val/mIoU"].current() <= 100
    assert (tmp_path / "run" / "iter_2.pth").exists()


def test_several_targets_are_reported_each_and_as_a_mean(gtav, cityscapes, tmp_path):
    """BDD100K and Mapillary are stood in for by Cityscapes under other names."""
    config = shrink(load_config(str(PROJECT / "baseline_r50_deeplabv3_gtav2dg.py"), []), tmp_path / "run")
    targets = config.val_dataloader.dataset.datasets
    assert [target.type for target in targets] == [
        "CityscapesLabelIdsDataset",
        "BDD100KLabelIdsDataset",
        "MapillaryCityscapesDataset",
    ]
    targets[1:] = [{**targets[0], "domain": name, "split": "train"} for name in ("bdd100k", "mapillary")]
    drop(config, "train_dataloader", "train_cfg", "optim_wrapper", "param_scheduler")
    metrics = Runner.from_cfg(config).val()
    names = ["cityscapes/mIoU", "bdd100k/mIoU", "mapillary/mIoU"]
    assert metrics["mIoU"] == pytest.approx(sum(metrics[name] for name in names) / 3)
    assert metrics["bdd100k/mIoU"] == metrics["mapillary/mIoU"]
