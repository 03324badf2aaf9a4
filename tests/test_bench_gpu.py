"""`gcisg bench gpu` on the CPU, in miniature; and what becomes of parts that fail, hang, die or do not fit."""

from __future__ import annotations

import json
import os
import time
from types import SimpleNamespace

import pytest

from benchmarks._gpu_run import Part, Settings, run_part
from benchmarks._tasks import METHODS, TASKS
from gcisg_suite.cli import main
from tests.processes import context


@pytest.fixture(scope="module")
def results(tmp_path_factory):
    folder = tmp_path_factory.mktemp("with a space")
    main(
        ["bench", "gpu", "--out", str(folder), "--device", "cpu", "--tiny", "--minutes", "60"]
    )  # exits unless all is well
    return folder, json.loads((folder / "results.json").read_text())


def test_all_parts_are_done(results):
    folder, content = results
    assert {part["status"] for part in content["parts"]} == {"done"}
    assert len(content["parts"]) == 12
    assert {row["what"]: row["value"] for row in content["environment"]}["device"] == "cpu"
    assert {row["outcome"] for row in content["tests"]} == {"passed"}
    page = (folder / "results.md").read_text()
    assert page.startswith("# Measured on the CPU in miniature: the times mean nothing\n\n12 of 12 parts done")
    assert "floor, s" in page


def test_every_task_method_and_precision_is_measured(results):
    rows = results[1]["steps"]
    assert not [row for row in rows if "problem" in row]
    measured = {(row["task"], row["method"], row["precision"]) for row in rows if row["of its floor"] > 0}
    expected = {(task, method, name) for task in TASKS for method in METHODS for name in ("float32 (TF32)", "float16")}
    expected |= {(task, "gcisg", name) for task in TASKS for name in ("bfloat16", "float16, channels last")}
    assert measured == expected | {("classification", "gcisg", "bfloat16, compiled")}
    assert all(row["s / step"] > 0 and row["images / s"] > 0 for row in rows)


def test_losses_and_loaders_are_measured(results):
    content = results[1]
    assert {row["loss"] for row in content["losses"]} == {"Causal invariance loss", "InfoNCE"}
    assert [row["task"] for row in content["loader"]] == [*TASKS]
    assert all(row["over the step"] > 0 for row in content["loader"])


def fails(run):
    run.emit("table", {"n": 1})
    with run.guarded("table", n=2):
        raise ValueError("one of several")
    with run.guarded("table", n=3):
        run.need(10_000)
    raise RuntimeError("the rest")


def dies(run):
    run.emit("table", {"n": 1})
    os._exit(3)


def hangs(run):
    run.emit("table", {"n": 1})
    print("hello from a part")
    time.sleep(1000)


@pytest.mark.parametrize(
    ("work", "said", "rows"),
    [
        (fails, "failed: RuntimeError: the rest", 3),
        (dies, "failed: its process ended with the exit status 3; see log.txt", 1),
        (hangs, "failed: its time was over after", 1),
    ],
)
def test_a_part_that_goes_wrong_leaves_its_rows_and_ends(work, said, rows, tmp_path, monkeypatch):
    taken = {"table": [], "problems": []}
    passed = [0.0]
    monkeypatch.setattr("benchmarks._gpu_run.time", SimpleNamespace(monotonic=lambda: time.monotonic() + passed[0]))

    def take(name, row):
        taken[name].append(row)
        passed[0] = 10_000.0 if work is hangs else 0.0  # its time is over with its first row

    settings = Settings("cpu", False, time.monotonic() + 3000)
    status, _ = run_part(Part("mine", work, least=0, most=2000), settings, tmp_path / "log.txt", context(), take)
    assert status.startswith(said)
    assert len(taken["table"]) == rows
    assert "===== mine" in (tmp_path / "log.txt").read_text()
    if work is fails:
        assert taken["table"][1]["problem"] == "ValueError: one of several"
        assert taken["table"][2]["problem"].startswith("not run: ")
        assert [row["where"] for row in taken["problems"]] == ["table, 2", "mine"]
        assert "ValueError: one of several" in taken["problems"][0]["traceback"]


def test_a_part_that_does_not_fit_is_not_begun(tmp_path):
    settings = Settings("cpu", False, time.monotonic() + 5)
    status, seconds = run_part(Part("mine", fails, 10, 20), settings, tmp_path / "log.txt", context(), print)
    assert status.startswith("not run: ")
    assert status.endswith("at least 10 s needed")
    assert seconds == 0
