"""The table of tasks: its rows are whole, its doors open, and each config is of one task."""

from pathlib import Path

import pytest

from gcisg_suite import tasks
from gcisg_suite.tasks import DOORS, FRAMEWORKS, FURTHER_DOORS, TASKS

ROOT = Path(__file__).parents[2]
CONFIGS = [path for name, row in TASKS.items() for path in sorted((ROOT / "projects" / name).glob(f"*{row.suffix}"))]


@pytest.mark.parametrize("name", TASKS)
def test_every_door_of_a_row_opens(name):
    row = TASKS[name]
    assert DOORS.keys() <= row.doors.keys() <= {*DOORS, *FURTHER_DOORS}
    for door in [*row.doors.values(), *row.audits.values(), *row.prepares.values()]:
        assert callable(tasks.load(door)), door
    assert row.folder == ROOT / "projects" / name


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
    assert [row.name for row in TASKS.values() if row.recognises(loaded)] == [config.parent.name]


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
