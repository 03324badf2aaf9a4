"""What commands tell people to do, done: each message is provoked and followed."""

import re
import runpy
import sys

import pytest
import setuptools
from packaging.requirements import Requirement

from gcisg_core import trackers
from gcisg_core.integrations import openmmlab
from gcisg_suite import doctor
from gcisg_suite.commands.demo import chosen_tasks
from gcisg_suite.tasks import load
from tests.classification.conftest import write_images
from tests.command import gcisg
from tests.suite.test_messages import ROOT, texts


@pytest.mark.remedy("{} -m pip install")
def test_a_framework_that_is_not_installed(monkeypatch):
    with monkeypatch.context() as patch:
        patch.setitem(sys.modules, "detectron2", None)
        said = "--tasks detection: detectron2 is not installed; `gcisg doctor` lists what is missing"
        assert said in gcisg("demo", "--tasks", "detection").err
        with pytest.raises(ValueError, match="detectron2.* is not installed; `gcisg doctor` lists what is missing"):
            load("detectron2.nothing:run")
        (line,) = (
            line for line in gcisg("doctor", "--again").out.splitlines() if re.search(r"detection +detectron2 ", line)
        )
    assert line.startswith("FIX ")
    assert "make setup" in line
    assert chosen_tasks(["detection"], lambda task: True) == ["detection"]


@pytest.mark.remedy("{} -m pip uninstall {}, then install one stack, see docs/install.md")
def test_two_stacks_in_one_environment(monkeypatch):
    both = ({"mmengine": "0.10.5"}, {"onedl-mmengine": "0.10.12"})
    monkeypatch.setattr(openmmlab, "stacks", lambda: both)
    fix = doctor.openmmlab_stack().fix
    for name in re.findall(r"pip uninstall ([^,]*),", fix)[0].split():
        for stack in both:
            stack.pop(name, None)
    both[1]["onedl-mmengine"] = "0.10.12"  # one stack
    assert doctor.openmmlab_stack().fix == ""


@pytest.mark.remedy("--real is for your own data ({}), not for --dataset {}")
def test_a_second_folder_of_an_official_data_set(tmp_path):
    for seed, name in enumerate(("synthetic", "real")):
        write_images(tmp_path / name, seed=seed)
    given = ["--root", tmp_path / "synthetic", "--real", tmp_path / "real", "--workers", 1]
    ended = gcisg("audit", "--dataset", "visda17", *given)
    assert ended.code == 2
    (own,) = re.findall(r"--real is for your own data \((\S+), .*\), not for --dataset visda17", ended.err)
    assert gcisg("audit", "--dataset", own, *given).code == 0


@pytest.mark.remedy("run it in a checkout of the repository, as `python benchmarks/{}.py` or after `pip install -e .`")
def test_a_benchmark_outside_of_a_checkout(monkeypatch, tmp_path):
    """Within one, tests/test_bench_gpu.py runs it."""
    with monkeypatch.context() as patch:
        patch.setattr("gcisg_suite.commands.bench.benchmark", lambda what: tmp_path / f"{what}.py")
        (script,) = re.findall(r"as `python (\S+)`", gcisg("bench", "gpu").err)
    assert (ROOT / script).is_file()
    assert gcisg("bench", "gpu", "--minutes", 0).err.startswith("error: --minutes 0")  # what comes after it is found


@pytest.mark.remedy(
    "pip install 'gcisg[guides]'", "pip install 'gcisg[export]'", "pip install 'gcisg[cluster]'",
    "Install pillow-heif (python -m pip install pillow-heif)", "python -m pip install {}",
    "is not installed. Install it: {}",
)  # fmt: skip
def test_what_pip_is_told_to_install_is_an_extra_a_package_of_one_or_a_tracker(monkeypatch):
    found = {}
    monkeypatch.setattr(setuptools, "setup", found.update)
    monkeypatch.chdir(ROOT)
    runpy.run_path("setup.py")
    packages = {Requirement(line).name for extra in found["extras_require"].values() for line in extra}
    packages |= {tracker.package for tracker in trackers.TRACKERS.values()}
    said = " ".join(text for _, text, is_said in texts() if is_said)
    named = re.findall(r"pip install '?([a-z][\w\[\]-]*)", said)
    assert {"gcisg[guides]", "gcisg[export]", "gcisg[cluster]", "h5py", "pillow-heif"} <= {*named}
    for what in named:
        extra = re.fullmatch(r"gcisg\[(.*)\]", what)
        assert extra[1] in found["extras_require"] if extra else what in packages or what == "git", what
    assert {"h5py", "submitit", "timm", "onnxscript"} <= packages


@pytest.mark.remedy("install Python 3.10 or later", "fix the lines above")
def test_what_the_doctor_says_of_python_and_of_a_check_that_needs_what_is_missing(monkeypatch):
    monkeypatch.setattr(doctor, "TASKS", {})
    monkeypatch.setattr(doctor, "GENERAL", (doctor.python_version, doctor.device))
    with monkeypatch.context() as patch:
        patch.setattr(sys, "version_info", (3, 9, 1))
        patch.setitem(sys.modules, "torch", None)
        assert [row.fix for row in doctor._look()] == ["install Python 3.10 or later", "fix the lines above"]
    assert [row.fix for row in doctor._look()] == ["", ""]
