"""`on_nonfinite` of the recorder, and its earlier place among the method's settings."""

import sys
import warnings
from importlib import import_module

import pytest

from gcisg_core.regularizers import METHODS, build_regularizer, read_method, settle_views
from tests.core.nan.steps import Run, Task


@pytest.mark.parametrize(
    ("hook", "method", "skips"),
    [(None, None, False), ("stop", None, False), ("skip", None, True), (None, "skip", True), ("skip", "skip", True)],
)
def test_the_hook_says_it_or_the_method_as_before(tmp_path, hook, method, skips):
    run = Run(Task(on_nonfinite=method), tmp_path, on_nonfinite=hook)
    run.task.twist = float("nan")
    if skips:
        assert not run.step()
    else:
        with pytest.raises(FloatingPointError, match=r"To skip such steps instead: .*on_nonfinite=\"skip\""):
            run.step()


def test_it_is_no_setting_of_a_method_and_its_earlier_place_warns():
    assert not any("on_nonfinite" in method.settings_class.__dataclass_fields__ for method in METHODS.values())
    places = r"dict\(type='RegularizerHook', on_nonfinite='skip'\).*REGULARIZER.HOOK.ON_NONFINITE skip"
    with pytest.warns(FutureWarning, match=places):
        read_method({"on_nonfinite": "skip"})


def test_a_run_that_reads_the_values_in_several_places_warns_once():
    values = {"on_nonfinite": "skip"}
    with warnings.catch_warnings(record=True) as shown:
        warnings.simplefilter("default")
        read_method(values)
        settle_views(None, values, "views", "method")
        build_regularizer(Task().backbone, values)
    assert len([warning for warning in shown if warning.category is FutureWarning]) == 1


@pytest.mark.remedy("its earlier place. Remove it there")
def test_two_places_that_differ_are_refused(tmp_path):
    message = "on_nonfinite is 'skip' for the hook and 'stop' among the method's settings, its earlier place"
    with pytest.raises(ValueError, match=message):
        Run(Task(on_nonfinite="stop"), tmp_path, on_nonfinite="skip")
    assert Run(Task(), tmp_path, on_nonfinite="skip").recorder


def test_another_value_is_refused_in_both_places(tmp_path):
    message = "on_nonfinite must be 'stop' or 'skip', got 'ignore'"
    with pytest.raises(ValueError, match=message):
        Run(Task(), tmp_path, on_nonfinite="ignore")
    with pytest.raises(ValueError, match=message):
        build_regularizer(Task().backbone, {"on_nonfinite": "ignore"})


@pytest.mark.parametrize(
    ("old", "new", "name"),
    [("nonfinite", "recorder", "StepRecorder"), ("records", "record", "load"), ("replay", "replay", "replay")],
)
def test_the_modules_earlier_names_import_with_a_warning(old, new, name):
    sys.modules.pop(f"gcisg_core.{old}", None)
    with pytest.warns(DeprecationWarning, match=f"gcisg_core.{old} is gcisg_core.nan.{new} now"):
        module = import_module(f"gcisg_core.{old}")
    assert getattr(module, name) is getattr(import_module(f"gcisg_core.nan.{new}"), name)
