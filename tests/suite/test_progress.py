"""What commands say of their progress: bars on a terminal, few lines in a log, nothing on stdout."""

from __future__ import annotations

import io
import logging
import sys

import pytest

from gcisg_core.screen import keep_screen_brief, tell_step
from gcisg_suite import progress as module
from gcisg_suite.progress import Progress, loading, named, progress, shown_if_slow, training_bars
from gcisg_suite.text import read_json


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


@pytest.fixture
def clock(monkeypatch):
    """Time that passes when it is told to."""
    now = [0.0]
    monkeypatch.setattr(module.time, "monotonic", lambda: now[0])
    return now


def test_a_log_has_start_estimate_and_end(capsys, clock):
    with named("baseline"):
        for _ in progress(range(100), "evaluating"):
            clock[0] += 1
    out, err = capsys.readouterr()
    assert out == ""
    assert err.splitlines() == [
        "baseline: evaluating: 100 images",
        "baseline: evaluating: 10 of 100, about 90 s to go",
        "baseline: evaluating: 30 of 100, about 70 s to go",
        "baseline: evaluating: 90 of 100, about 10 s to go",
        "baseline: evaluating: done in 100 s",
    ]


def test_what_is_usually_quick_is_shown_after_3_seconds_by_the_first_process(capsys, clock, monkeypatch):
    def listed(what, items=range(6)):
        for _ in shown_if_slow(items, what, "file"):
            clock[0] += 0.4 if what == "quick" else 2

    listed("quick")
    listed("slow")
    listed("endless", iter(range(6)))
    monkeypatch.setenv("RANK", "1")
    listed("slow")
    assert capsys.readouterr().err.splitlines() == [
        "slow: 2 of 6, about 8 s to go", "slow: done in 12 s",
        "endless: 2 files so far", "endless: 6 files so far", "endless: done in 12 s",
    ]  # fmt: skip


def test_on_a_terminal_quick_work_draws_no_bar(monkeypatch):
    monkeypatch.setattr(sys, "stderr", Terminal())
    assert list(shown_if_slow("ab", "listing")) == ["a", "b"]
    assert sys.stderr.getvalue() == ""


def test_only_a_large_json_file_is_announced(tmp_path, capsys, monkeypatch):
    file = tmp_path / "a.json"
    file.write_text("[1]")
    assert read_json(file, "") == [1]
    assert capsys.readouterr().err == ""
    monkeypatch.setattr("gcisg_suite.text.LARGE", 2)
    monkeypatch.setattr("gcisg_suite.text.JSON_SPEED", 0.25)
    assert read_json(file, "") == [1]
    assert capsys.readouterr().err.splitlines() == [f"reading {file}: about 12 s", f"reading {file}: done in 0 s"]


def test_an_import_is_announced_by_the_first_process(capsys, monkeypatch):
    for rank in "01":
        monkeypatch.setenv("RANK", rank)
        with loading("mmengine"):
            pass
    assert capsys.readouterr().err.splitlines() == ["loading mmengine: a few seconds", "loading mmengine: done in 0 s"]


def test_work_of_unknown_length_and_work_that_fails(capsys, clock):
    assert list(progress(iter("ab"), "reading", "batch")) == ["a", "b"]
    assert list(progress("ab", "drawing", "class")) == ["a", "b"]
    with pytest.raises(OSError, match="gone"), Progress("loading", 1, "model"):
        raise OSError("gone")
    assert capsys.readouterr().err.splitlines() == [
        "reading", "reading: done in 0 s", "drawing: 2 classes", "drawing: done in 0 s", "loading: 1 model",
    ]  # fmt: skip


def test_a_terminal_has_a_bar_with_the_time_to_go_that_goes_away(monkeypatch):
    screen = Terminal()
    monkeypatch.setattr(sys, "stderr", screen)
    with named("baseline"), Progress("evaluating", 4, "image") as shown:
        shown.bar.mininterval = 0
        shown.reach(2)
    assert "baseline: evaluating:  50%" in screen.getvalue()
    assert screen.getvalue().endswith("\r")
    with loading("mmengine"):
        assert "loading mmengine (a few seconds): " in screen.getvalue()


def test_steps_of_a_framework_replace_its_log(capsys):
    logger = logging.Logger("framework")
    logger.addHandler(logging.StreamHandler())
    keep_screen_brief(logger)
    with training_bars():
        for step in (1, 2):
            logger.info("iter %d of 2", step)
            tell_step("training", step, 2)
        logger.warning("slow")
        for image in (1, 2, 3, 1, 2, 3):  # two evaluations, one after the other
            tell_step("evaluating", image, 3)
    tell_step("training", 1, 2)
    logger.info("the log is back")
    lines = capsys.readouterr().err.splitlines()
    evaluation = ["evaluating: 3 steps", "evaluating: done in 0 s"]
    training = ["training: 2 steps", "training: done in 0 s"]
    assert lines == [*training, "slow", *evaluation, *evaluation, "the log is back"]


def test_the_screen_has_no_line_for_each_parameter_and_none_about_the_framework_itself(capsys):
    logger = logging.Logger("framework")
    logger.addHandler(logging.StreamHandler())
    keep_screen_brief(logger)
    logger.info("paramwise_options -- backbone.bn1.weight:lr_mult=0.2")
    logger.warning("regularizer.reference.encoder.layer1.0.conv1.weight is skipped since its requires_grad=False")
    logger.warning('"FileClient" will be deprecated in future')
    logger.info("Using env variable `GCISG_DATA` with value of data to replace item in config")
    logger.warning("the step is skipped since its loss is not finite")
    assert capsys.readouterr().err == "the step is skipped since its loss is not finite\n"
