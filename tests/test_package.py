"""The wheel, installed away from the checkout: its commands find the configs that it brings."""

import os
import shutil
import subprocess
import sys
from importlib import metadata
from pathlib import Path

import numpy as np
import pytest
from mmengine.config import Config
from packaging.requirements import Requirement

from gcisg_suite.tasks import TASKS
from tests.test_own_data import make_classification

ROOT = Path(__file__).parents[1]
LEFT_OUT = shutil.ignore_patterns(".*", "data", "runs", "work_dirs", "build", "tests", "*.egg-info", "__pycache__")


@pytest.fixture(scope="module")
def installed(tmp_path_factory):
    """A folder with the wheel's content, and its commands."""
    folder = tmp_path_factory.mktemp("wheel")
    shutil.copytree(ROOT, folder / "source", ignore=LEFT_OUT)
    pip = [sys.executable, "-m", "pip", "--disable-pip-version-check"]
    quiet = ["--quiet", "--no-deps", "--no-build-isolation", "--no-index"]
    subprocess.run([*pip, "wheel", *quiet, "-w", folder, folder / "source"], check=True)
    (wheel,) = folder.glob("*.whl")
    subprocess.run([*pip, "install", *quiet, "--target", folder / "site", wheel], check=True)
    return folder / "site"


def run(installed, *command):
    """Away from the checkout, with the wheel's packages before an editable install's."""
    return subprocess.run(
        [sys.executable, *command],
        cwd=installed.parent,
        env={**os.environ, "PYTHONPATH": str(installed)},
        capture_output=True,
        text=True,
        check=False,
    )


def test_every_package_and_the_type_information_are_in_it(installed):
    code = "import gcisg_core, gcisg_cls, gcisg_seg, gcisg_suite.miniature, gcisg_suite.cli as c; print(c.__file__)"
    result = run(installed, "-c", code)
    assert result.stdout.startswith(str(installed)), result.stderr
    assert len(list(installed.glob("gcisg_*/py.typed"))) == 2 + len(TASKS)


def test_neither_openmmlab_stack_is_forced_on_an_environment(installed):
    """Both have the same import names, so what is not asked for must not overwrite what is there."""
    (distribution,) = metadata.distributions(name="gcisg", path=[str(installed)])
    names = {"mmengine", "mmcv", "mmsegmentation"}
    for extra in (None, *distribution.metadata.get_all("Provides-Extra")):
        needed = [Requirement(line) for line in distribution.requires]
        taken = {
            item.name for item in needed if item.marker is None or (extra and item.marker.evaluate({"extra": extra}))
        }
        official, onedl = taken & names, taken & {f"onedl-{name}" for name in names}
        assert bool(official) == (extra == "segmentation-openmmlab")
        assert bool(onedl) == (extra in ("classification", "segmentation", "all"))


COMMANDS = ("train", "demo", "prepare", "audit", "sweep", "export", "predict", "analyze", "select", "report",
            "new-project", "zoo", "doctor")  # fmt: skip


def test_the_command_and_its_earlier_names_are_there(installed):
    listed = run(installed, str(installed / "bin" / "gcisg"), "--help")
    assert listed.returncode == 0, listed.stderr
    assert {*COMMANDS} <= {*listed.stdout.split()}
    for name in COMMANDS:
        result = run(installed, str(installed / "bin" / f"gcisg-{name}"), "--help")
        assert result.returncode == 0, result.stderr
        assert result.stdout.split()[:3] == ["Usage:", "gcisg", name]


@pytest.mark.parametrize(
    "config",
    [
        "projects/classification/gcisg_r101_visda17.py",
        "projects/segmentation/gcisg_r50_deeplabv3_gtav2cityscapes.py",
        "projects/detection/gcisg_r101_fpn.yaml",
    ],
)
def test_configs_are_found_and_the_missing_data_is_named(installed, config):
    """The config is read with its bases; training then stops at the data or weights that are not there."""
    result = run(installed, str(installed / "bin" / "gcisg-train"), "--config", config)
    assert result.returncode != 0
    last = result.stderr.strip().splitlines()[-1]
    assert last.startswith("error: ")
    assert Path(config).name not in last
    assert "_base_" not in last
    assert any(word in last for word in ("visda17", "gta5", "sim10k", "weights", "resnet", "R-101"))


def test_the_zoo_is_found_away_from_the_checkout(installed):
    listed = run(installed, str(installed / "bin" / "gcisg-zoo"), "list")
    assert "classification_gcisg_mini-" in listed.stdout, listed.stderr
    command = ["download", "classification/gcisg_mini", "--base-url", str(installed / "gcisg_configs" / "zoo")]
    fetched = run(installed, str(installed / "bin" / "gcisg-zoo"), *command)
    assert (installed.parent / fetched.stdout.strip()).is_file(), fetched.stderr


def test_a_project_is_written_and_its_base_is_found(installed, tmp_path):
    for seed, part in enumerate(("synthetic", "real")):
        make_classification(tmp_path / part, np.random.default_rng(seed))
    flags = ["--synthetic", tmp_path / "synthetic", "--real", tmp_path / "real", "--out", tmp_path / "out"]
    result = run(installed, str(installed / "bin/gcisg-new-project"), "--task", "classification", *map(str, flags))
    assert result.returncode == 0, result.stderr
    config = Config.fromfile(tmp_path / "out/gcisg.py")
    assert str(installed) in (tmp_path / "out/baseline.py").read_text()
    assert config.model.regularizer.method == "gcisg"
    assert config.train_dataloader.dataset.dataset.classes == ("bird", "boat", "bus")
