"""The wheel, installed away from the checkout: its commands find the configs that it brings."""

import json
import os
import re
import shutil
import subprocess
import sys
from importlib import metadata
from pathlib import Path

import numpy as np
import pytest
import yaml
from mmengine.config import Config
from packaging.requirements import Requirement

from gcisg_suite import cli
from gcisg_suite.tasks import TASKS
from tests.command import Ended
from tests.test_own_data import make_classification

ROOT = Path(__file__).parents[1]
# The command of tests/command.py away from the tests; it then says where each of our packages was found.
IN_ONE_PROCESS = (
    (ROOT / "tests/command.py").read_text()
    + """
import json, sys
import gcisg_core, gcisg_cls, gcisg_seg, gcisg_det, gcisg_suite.miniature
ended = [gcisg(*words) for words in json.load(sys.stdin)]
packages = [module for name, module in sys.modules.items() if name.startswith("gcisg_")]
print(json.dumps([ended, [module.__file__ for module in packages]]))
"""
)
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


def run(installed, *command, text=None):
    """Away from the checkout, with the wheel's packages before an editable install's."""
    return subprocess.run(
        [sys.executable, *command], input=text, cwd=installed.parent, env={**os.environ, "PYTHONPATH": str(installed)},
        capture_output=True, text=True, check=False,
    )  # fmt: skip


CONFIGS = (
    "projects/classification/gcisg_r101_visda17.py",
    "projects/segmentation/gcisg_r50_deeplabv3_gtav2cityscapes.py",
    "projects/detection/gcisg_r101_fpn.yaml",
)
LISTED, DOWNLOADED = ["zoo", "list"], ["zoo", "download", "classification/gcisg_mini", "--base-url"]
NEW_PROJECT = ["new-project", "--task", "classification", "--synthetic", "a/synthetic", "--real", "a/real", "--out",
               "out"]  # fmt: skip
# MMSegmentation comes last: it changes what names of mmengine's registry mean.
COMMANDS = [LISTED, ["bench", "gpu"], NEW_PROJECT, *(["train", "--config", CONFIGS[task]] for task in (0, 2, 1))]


@pytest.fixture(scope="module")
def ended(installed):
    """How each of the commands ended, one after another in one process: (status, standard output, errors)."""
    for seed, part in enumerate(("synthetic", "real")):
        make_classification(installed.parent / "a" / part, np.random.default_rng(seed))
    commands = [*COMMANDS, [*DOWNLOADED, str(installed / "gcisg_configs" / "zoo")]]
    done = run(installed, "-c", IN_ONE_PROCESS, text=json.dumps(commands))
    assert done.returncode == 0, done.stderr
    said, files = json.loads(done.stdout.splitlines()[-1])
    for file in files:
        assert file.startswith(str(installed)), file
    return {" ".join(words[:3]): Ended(*each) for words, each in zip(commands, said, strict=True)}


def test_every_package_and_the_type_information_are_in_it(installed, ended):
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


def test_what_is_told_to_install_is_in_it(installed):
    code = "from gcisg_core.shell import pinned; print(pinned('torch'), pinned('frameworks', 'segmentation'))"
    flag, file, extra = run(installed, "-c", code).stdout.split()
    assert (flag, extra) == ("-r", "'gcisg[segmentation]'")
    assert (installed.parent / file).read_text() == (ROOT / "requirements/torch.txt").read_text()


def test_one_version_in_the_wheel_the_changelog_and_the_citation(installed):
    (distribution,) = metadata.distributions(name="gcisg", path=[str(installed)])
    (newest, *_) = re.findall(r"^## (.+)$", (ROOT / "CHANGELOG.md").read_text(), re.M)
    assert newest == distribution.version == yaml.safe_load((ROOT / "CITATION.cff").read_text())["version"]


def test_the_command_and_its_earlier_names_are_there(installed):
    listed = run(installed, str(installed / "bin" / "gcisg"), "--help")
    assert listed.returncode == 0, listed.stderr
    names = {path.name.removeprefix("gcisg-") for path in (installed / "bin").glob("gcisg-*")}
    assert names == {*listed.stdout.split()} & {*cli.COMMANDS} - {"eval", "replay", "bench"}
    alias = run(installed, str(installed / "bin" / "gcisg-new-project"), "--help")
    assert alias.stdout.split()[:3] == ["Usage:", "gcisg", "new-project"], alias.stderr
    scripts = {path.read_text().partition("sys.exit(")[2] for path in (installed / "bin").glob("gcisg-*")}
    assert scripts == {"alias())\n"}


@pytest.mark.parametrize("config", CONFIGS)
def test_configs_are_found_and_the_missing_data_is_named(ended, config):
    """The config is read with its bases; training then stops at the data or weights that are not there."""
    code, _, errors = ended[f"train --config {config}"]
    assert code != 0
    last = errors.strip().splitlines()[-1]
    assert last.startswith("error: ")
    assert Path(config).name not in last
    assert "_base_" not in last
    assert any(word in last for word in ("visda17", "gta5", "sim10k", "weights", "resnet", "R-101"))


def test_the_zoo_is_found_away_from_the_checkout(installed, ended):
    assert "classification_gcisg_mini-" in ended["zoo list"].out, ended["zoo list"]
    fetched = ended[" ".join(DOWNLOADED[:3])]
    assert (installed.parent / fetched.out.strip()).is_file(), fetched


def test_what_needs_a_checkout_says_so(ended):
    code, _, errors = ended["bench gpu"]
    assert code == 2
    assert "run it in a checkout of the repository, as `python benchmarks/gpu.py`" in errors


def test_a_project_is_written_and_its_base_is_found(installed, ended):
    assert ended[" ".join(NEW_PROJECT[:3])].code == 0
    config = Config.fromfile(installed.parent / "out/gcisg.py")
    assert str(installed) in (installed.parent / "out/baseline.py").read_text()
    assert config.model.regularizer.method == "gcisg"
    assert config.train_dataloader.dataset.dataset.classes == ("bird", "boat", "bus")
