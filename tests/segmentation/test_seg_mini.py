"""The miniature's configs on a few scenes, from the reference network's file to the mIoU."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from mmengine.config import Config
from mmengine.runner import Runner

from gcisg_core.integrations.mmengine import load_config
from gcisg_seg.demo import segmentation_section
from gcisg_seg.differences import differences, found
from gcisg_seg.evaluation import train_and_test
from gcisg_seg.panels import COLOURS
from gcisg_suite.miniature import scenes
from gcisg_suite.miniature.network import MiniResNet
from gcisg_suite.report.demonstration import read_both
from gcisg_suite.report.differences import draw

PROJECT = Path(__file__).parents[2] / "projects" / "segmentation"
SHORT = {"train_cfg.max_iters": 2, "train_cfg.val_interval": 2, "default_hooks.checkpoint.interval": 2}


@pytest.fixture
def mini(tmp_path, monkeypatch) -> Path:
    monkeypatch.setenv("GCISG_DATA", str(tmp_path / "data"))
    scenes.prepare(tmp_path / "data" / "mini" / "scenes", train_scenes=8, eval_scenes=2, progress=False)
    return tmp_path / "data" / "mini"


def config_of(method: str, work_dir: Path) -> Config:
    config = load_config(str(PROJECT / f"{method}_mini.py"), [])
    config.merge_from_dict({**SHORT, "default_hooks.logger.interval": 1, "work_dir": str(work_dir)})
    return config


@pytest.mark.parametrize("method", ["baseline", "gcisg"])
def test_config_trains_from_the_reference_network_and_is_evaluated(method, mini, tmp_path):
    reference = MiniResNet(num_classes=81, seed=1).state_dict()
    torch.save(reference, mini / "reference.pth")
    runner = Runner.from_cfg(config_of(method, tmp_path / "run"))
    runner.train()
    scalars = runner.message_hub.log_scalars
    assert 0 <= scalars["val/cityscapes/mIoU"].current() <= 100
    state = runner.model.state_dict()
    assert not torch.equal(state["backbone.conv1.weight"], reference["conv1.weight"])
    assert ("train/loss_ci_stage4" in scalars) == (method == "gcisg")
    if method == "gcisg":
        kept = runner.model.regularizer.reference.encoder
        images = torch.rand(1, 3, 32, 32)
        expected = MiniResNet(num_classes=81, seed=1).eval()
        torch.testing.assert_close(
            kept(images)[-1].mean((2, 3)), expected.avgpool(expected.stages(images)[-1]).flatten(1)
        )


def test_missing_reference_network_is_said_with_the_command_that_makes_it(mini, tmp_path):
    with pytest.raises(FileNotFoundError, match=r"reference\.pth: no such file\. Make the miniature: gcisg prepare"):
        Runner.from_cfg(config_of("baseline", tmp_path / "run")).train()


def test_any_config_is_trained_and_measured_on_its_test_set(mini, tmp_path):
    torch.save(MiniResNet(num_classes=81, seed=1).state_dict(), mini / "reference.pth")
    overrides = [f"{key}={value}" for key, value in SHORT.items()]
    result = train_and_test(PROJECT / "baseline_mini.py", tmp_path / "run", overrides, 0)
    assert (tmp_path / "run/iter_2.pth").is_file()
    assert result["test"].keys() == {"mIoU", "aAcc", "mAcc"}
    assert all(0 <= value <= 100 for value in result["test"].values())


def test_demonstration_trains_both_and_shows_what_was_measured(mini, tmp_path):
    torch.save(MiniResNet(num_classes=81, seed=1).state_dict(), mini / "reference.pth")
    overrides = [f"{key}={value}" for key, value in SHORT.items()]
    section = segmentation_section(tmp_path / "runs", overrides)
    stamps = {path: path.stat().st_mtime_ns for path in (tmp_path / "runs").rglob("*.pth")}
    assert segmentation_section(tmp_path / "runs", overrides).rows == section.rows
    assert {path: path.stat().st_mtime_ns for path in (tmp_path / "runs").rglob("*.pth")} == stamps
    assert len(stamps) == 2
    assert section.columns == ["metric", "baseline", "GCISG", "gain"]
    measured = json.loads((tmp_path / "runs" / "gcisg_mini" / "result.json").read_text())
    assert section.rows[0][2] == f"{measured['test']['mIoU']:.2f}"
    truth = section.pictures[1].figure.axes[5].images[0].get_array()
    scene = scenes.real_scene("test", 0)
    assert (truth[scene.objects[0].mask] != COLOURS[0]).any(axis=-1).all()
    assert (truth[~np.any([item.mask for item in scene.objects], axis=0)] == COLOURS[0]).all()
    assert section.pictures[1].caption.endswith("From the miniature's test split, like the table.")

    compared = differences(read_both(tmp_path / "runs"))
    objects = [item for index in range(2) for item in scenes.real_scene("test", index).objects]
    assert len(compared.right) == len(objects)
    assert compared.counted == "digits in 2 test scenes"
    assert [*compared.legend] == ["0", "2", "3", "4", "5", "6", "7", "8", "ground"]
    right = np.tile((False, True), (len(objects), 1))
    figure = draw({"Segmentation": replace(compared, right=right)})
    truth = [axis.images[0].get_array() for axis in figure.axes[2:4]]
    for index, picture in enumerate(truth):
        for item in scenes.real_scene("test", index).objects:
            assert (picture[item.mask] / 255 == compared.legend[str(item.digit)]).all()


def test_a_digit_is_found_when_more_than_half_of_its_pixels_have_its_class():
    truth = np.zeros((6, 10), int)
    truth[1:5, 1:3], truth[1:5, 7:9] = 2, 2  # two digits of a class, eight pixels each
    half, more = truth.copy(), truth.copy()
    half[1:3, 1:3], more[1:3, 1:2] = 0, 5
    assert found(truth, [half, more, np.full_like(truth, 2), truth * 0]).tolist() == [
        [False, True, True, False],
        [True, True, True, False],
    ]
    assert found(truth * 0, [half, more]).shape == (0, 2)
