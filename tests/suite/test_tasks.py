"""The table of tasks: its rows are whole, its doors open, and each config is of one task."""

import dataclasses
import inspect
import re
import sys
from pathlib import Path

import pytest

from gcisg_suite import tasks
from gcisg_suite.commands.arguments import UsageError
from gcisg_suite.commands.demo import chosen_tasks
from gcisg_suite.rows import DOORS
from gcisg_suite.tasks import FRAMEWORKS, TASKS
from tests.command import gcisg

ROOT = Path(__file__).parents[2]
CONFIGS = [path for name, row in TASKS.items() for path in sorted((ROOT / "projects" / name).glob(f"*{row.suffix}"))]


@pytest.mark.parametrize("name", TASKS)
def test_every_door_of_a_row_opens(name):
    row = TASKS[name]
    assert row.doors.keys() <= DOORS.keys()
    for door in [*row.doors.values(), *(audit.door for audit in row.audits.values()), *row.prepares.values()]:
        assert callable(tasks.load(door)), door
    for audit in row.audits.values():
        assert {"root", "workers", *audit.options} <= {*inspect.signature(tasks.load(audit.door)).parameters}
    assert row.folder == ROOT / "projects" / name


@pytest.mark.remedy("pip install 'gcisg[classification]'", "pip install 'gcisg[segmentation]'")
@pytest.mark.remedy("{} is not installed; {}`gcisg doctor` lists what is missing")
def test_a_missing_package_is_named_with_what_to_do(monkeypatch):
    """No extra is required, so a framework may be absent; the error is one line."""
    with pytest.raises(ValueError, match=r"^absent_framework is not installed; `gcisg doctor` lists what is missing$"):
        tasks.load("absent_framework.engine:run")
    monkeypatch.setitem(sys.modules, "cityscapesscripts.helpers.labels", None)
    for module in ("layouts", "audit"):
        monkeypatch.delitem(sys.modules, f"gcisg_seg.{module}", raising=False)
    said = gcisg("audit", "--dataset", "cityscapes", "--root", ROOT).err.splitlines()[-1]
    assert re.search(r"labels is not installed; pip install 'gcisg\[segmentation\]'; `gcisg doctor` lists what", said)


def test_training_without_its_framework_says_what_installs_it(monkeypatch):
    monkeypatch.setitem(sys.modules, "gcisg_core.integrations.mmengine", None)
    said = gcisg("train", "--config", CONFIGS[0]).err.splitlines()[-1]
    assert re.search(r"is not installed; pip install 'gcisg\[classification\]', or 'gcisg\[segmentation\]'", said)


@pytest.mark.parametrize("name", FRAMEWORKS)
def test_every_door_of_a_framework_opens(name):
    framework = FRAMEWORKS[name]
    for door in (framework.read_config, framework.train, framework.evaluate):
        assert callable(tasks.load(door)), door
    for function in ("build_model", "framework"):
        assert callable(tasks.load(f"{framework.replay}:{function}"))


@pytest.mark.parametrize("config", CONFIGS, ids=lambda path: f"{path.parent.name}-{path.stem}")
def test_each_config_is_of_one_task(config):
    loaded = tasks.read_config(config)
    assert tasks.task_of(loaded).name == config.parent.name
    plain = {key: value for key, value in loaded.items() if key != "custom_imports"}
    assert [row.name for row in TASKS.values() if row.recognises(plain)] == [config.parent.name]


@pytest.mark.parametrize("imports", [["gcisg_seg.registry", "my.parts"], "gcisg_seg"])
def test_a_config_is_of_the_task_whose_package_it_imports(imports):
    assert tasks.task_of({"custom_imports": {"imports": imports}}).name == "segmentation"
    assert tasks.task_of({"custom_imports": {"imports": ["my.parts"]}}).name == "classification"
    both = {"custom_imports": {"imports": ["gcisg_cls", "gcisg_seg"]}, "default_scope": "mmseg"}
    assert tasks.task_of(both).name == "segmentation"


def test_a_door_that_a_task_lacks_is_named():
    bare = dataclasses.replace(TASKS["detection"], doors={})
    with pytest.raises(ValueError, match=r"task detection does not offer this: its row .* has no 'demo', \(runs\)"):
        bare.door("demo")


def test_what_a_task_lacks_is_left_out_or_refused(monkeypatch):
    monkeypatch.setitem(TASKS, "detection", dataclasses.replace(TASKS["detection"], doors={}))
    offers = lambda task: "demo" in task.doors  # noqa: E731
    assert chosen_tasks(None, offers) == ["classification", "segmentation"]
    with pytest.raises(UsageError, match="--tasks detection: does not support .* one of classification, segmentation"):
        chosen_tasks(["detection"], offers)


def test_a_config_of_another_kind_is_refused():
    assert tasks.find_task({"default_scope": "mmdet", "model": {}}) is None
    with pytest.raises(ValueError, match="'mmdet': a config of none of the tasks classification"):
        tasks.task_of({"default_scope": "mmdet", "model": {}})
    with pytest.raises(ValueError, match=r"x.toml: expected one of the suffixes .py, .yaml"):
        tasks.framework_of("x.toml")


def test_overrides_have_the_form_of_the_framework():
    settings = {"A.B": 1, "C": "x"}
    assert TASKS["classification"].framework.overrides(settings) == ["A.B=1", "C=x"]
    assert TASKS["detection"].framework.overrides(settings) == ["A.B", "1", "C", "x"]
