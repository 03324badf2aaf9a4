"""What messages about runs, sweeps, configs and the miniature tell people to do, done."""

import json
import shutil

import pytest
import torch

from gcisg_core.integrations.mmengine import load_config
from gcisg_core.integrations.mmengine.runner import naming_file
from gcisg_core.integrations.openmmlab import MissingOperators
from gcisg_core.problems import DataError, MissingPackageError
from gcisg_suite import gallery
from gcisg_suite.export import parse_metric
from gcisg_suite.miniature.folders import write_once
from gcisg_suite.miniature.ingredients import photo_strip, real_digits
from gcisg_suite.miniature.scenes import real_scene
from gcisg_suite.report.runs import read_run
from gcisg_suite.selection.run_checkpoints import checkpoints_of
from gcisg_suite.sweep.variants import check_configs, read_sweep
from tests.command import gcisg
from tests.faults.formats import detection_run


@pytest.mark.remedy("Move it away", "Name the folder of a run")
def test_the_checkpoints_of_a_run(tmp_path):
    with pytest.raises(DataError, match="no checkpoint .* Name the folder of a run"):
        checkpoints_of(tmp_path)
    (tmp_path / "run").mkdir()
    torch.save({"iteration": 1}, tmp_path / "run/model_0000001.pth")
    assert checkpoints_of(tmp_path / "run").keys() == {2}
    torch.save({"model": {}}, tmp_path / "run/model_final.pth")
    with pytest.raises(DataError, match="model_final.pth: iteration is None, expected a whole number. Move it away"):
        checkpoints_of(tmp_path / "run")
    shutil.move(tmp_path / "run/model_final.pth", tmp_path / "away.pth")
    assert checkpoints_of(tmp_path / "run").keys() == {2}


@pytest.mark.remedy("Restore it: training writes it at the start")
def test_the_config_of_a_run(tmp_path):
    detection_run(tmp_path)
    text = (tmp_path / "config.yaml").read_text()
    (tmp_path / "config.yaml").write_text("- 1")
    with pytest.raises(DataError, match="Restore it: training writes it at the start"):
        read_run(tmp_path)
    (tmp_path / "config.yaml").write_text("DATASETS: 3")
    with pytest.raises(DataError, match="Restore it: training writes it at the start"):
        print(read_run(tmp_path).data)
    (tmp_path / "config.yaml").write_text(text)
    assert read_run(tmp_path).data == ("a", "b")


@pytest.mark.remedy("sweep/variants.py: Correct it", "Name a config of {}, without {}")
def test_a_sweep(tmp_path):
    file = tmp_path / "grid.yaml"
    file.write_text("variants: {a: {config: gcisg_mini}}\ngrid: {lr: 3}\n")
    with pytest.raises(DataError, match="grid.lr is 3, expected a list.* Correct it"):
        read_sweep(file)
    file.write_text("variants: {a: {config: gcisg_mini.py}}\ngrid: {lr: [3]}\n")
    with pytest.raises(DataError, match="Name a config of .*classification, without .py"):
        check_configs(file, *read_sweep(file))
    file.write_text("variants: {a: {config: gcisg_mini}}\ngrid: {lr: [3]}\n")
    check_configs(file, *read_sweep(file))


@pytest.mark.remedy("{} holds files that this program did not write; name another folder or remove it")
def test_the_folder_of_the_miniature(tmp_path):
    def write(folder):
        (folder / "0.png").touch()

    (tmp_path / "mine").mkdir()
    (tmp_path / "mine/own.txt").touch()
    with pytest.raises(FileExistsError, match="did not write; name another folder or remove it"):
        write_once(tmp_path / "mine", {"seed": 1}, write)
    assert write_once(tmp_path / "another", {"seed": 1}, write)
    shutil.rmtree(tmp_path / "mine")
    assert write_once(tmp_path / "mine", {"seed": 1}, write)


@pytest.mark.remedy(
    "miniature/ingredients.py: split is {}; choose one of {}", "strip is {}; choose one of {}",
    "miniature/scenes.py: split is {}; choose one of {}",
)  # fmt: skip
@pytest.mark.parametrize("make", [real_digits, photo_strip, lambda split: real_scene(split, 0)])
def test_parts_of_the_miniature(make):
    with pytest.raises(ValueError, match=r"choose one of \[") as said:
        make("none")
    for name in json.loads(str(said.value).partition("one of ")[2].replace("'", '"')):
        assert make(name) is not None


@pytest.mark.remedy("no browser was found: apt-get install chromium, or set CHROME=/its/path")
def test_the_browser_of_the_gallery(tmp_path, monkeypatch):
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.delenv("CHROME", raising=False)
    with pytest.raises(ValueError, match="no browser was found: .* or set CHROME=/its/path"):
        gallery.make(tmp_path, {})
    monkeypatch.setenv("CHROME", str(tmp_path / "chromium"))
    gallery.make(tmp_path, {})
    monkeypatch.delenv("CHROME")
    (tmp_path / "chromium").write_text("#!/bin/sh\n")  # where a package puts it: on the path
    (tmp_path / "chromium").chmod(0o755)
    gallery.make(tmp_path, {})


@pytest.mark.remedy("INPUT: name at least one image, folder or video")
def test_a_prediction_of_nothing(tmp_path):
    (tmp_path / "net.pth").touch()
    command = ["predict", "--config", "resnet18", "--checkpoint", tmp_path / "net.pth", "--output", tmp_path / "out"]
    assert gcisg(*command).err.endswith("INPUT: name at least one image, folder or video\n")
    named = gcisg(*command, tmp_path / "0.png").err
    assert named == f"error: INPUT {tmp_path / '0.png'}: no such file or folder\n"  # what comes after it is checked


# What the message says to do, a config that provokes it, and the config after it was done.
CONFIGS = [
    ("mmengine/read.py: Correct it", "model = dict(\nx = [1,\n", "model = dict(x=[1])\n"),
    ("mmengine/read.py: Correct it", "model = undefined\n", "model = dict(x=[1])\n"),
    ("mmengine/read.py: Correct it", "_base_ = 'none.py'\nmodel = dict()", "_base_ = 'base.py'\nmodel = dict(x=[1])\n"),
]


@pytest.mark.remedy(*CONFIGS)
@pytest.mark.parametrize(("words", "wrong", "right"), CONFIGS)
def test_configs_of_mmengine(tmp_path, words, wrong, right):
    (tmp_path / "base.py").write_text("train_cfg = dict(max_iters=4)\n")
    (tmp_path / "own.py").write_text(wrong)
    with pytest.raises(DataError) as raised:
        load_config(str(tmp_path / "own.py"), [])
    assert raised.value.problem.remedy == words.rpartition(".py: ")[2]
    (tmp_path / "own.py").write_text(right)
    assert load_config(str(tmp_path / "own.py"), []).model.x == [1]


OWN = """
import torch
from mmengine.registry import MODELS


@MODELS.register_module()
class OwnNetwork(torch.nn.Linear):
    pass
"""


@pytest.mark.remedy("mmengine/read.py: Install the module, or start in its folder with PYTHONPATH=.")
@pytest.mark.remedy("Correct the name, or list the module that registers it in custom_imports")
def test_modules_of_ones_own(tmp_path, monkeypatch):
    from mmengine.registry import MODELS

    (tmp_path / "own_networks.py").write_text(OWN)
    (tmp_path / "own.py").write_text("custom_imports = dict(imports=['own_networks'])\nmodel = dict(x=1)\n")
    built = {"type": "OwnNetwork", "in_features": 2, "out_features": 2}
    message = "own.py: OwnNetwork is not in .* Correct the name, or list the module that registers it in custom_imports"
    with pytest.raises(ValueError, match=message), naming_file(tmp_path / "own.py"):
        MODELS.build(built)
    with pytest.raises(DataError, match="Install the module, or start in its folder with PYTHONPATH=."):
        load_config(str(tmp_path / "own.py"), [])
    monkeypatch.syspath_prepend(tmp_path)
    load_config(str(tmp_path / "own.py"), [])
    with naming_file(tmp_path / "own.py"):
        assert type(MODELS.build(built)).__name__ == "OwnNetwork"


@pytest.mark.remedy("or choose a model that does not need the operator")
def test_an_operator_of_mmcv_that_is_not_compiled(monkeypatch):
    operators = MissingOperators("mmcv._ext")
    with pytest.raises(MissingPackageError, match="`tricky` is not installed.* or choose a model that does not need"):
        operators.tricky(torch.ones(1))
    from mmseg.models.backbones import ResNet

    assert ResNet(18)(torch.rand(1, 3, 64, 64))  # needs none


def test_metrics_that_are_no_numbers_are_named():
    assert parse_metric("mIoU=41.5") == ("mIoU", 41.5)
    with pytest.raises(ValueError, match="--metrics 'mIoU' must be NAME=VALUE"):
        parse_metric("mIoU")
