"""A sweep of real processes, killed and started again; what is trained is played by a stand-in."""

import json
import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch

from gcisg_suite.cli import main
from gcisg_suite.sweep import sweep
from gcisg_suite.sweep.cluster import _outcome
from gcisg_suite.sweep.run import Run
from gcisg_suite.sweep.variants import Variant
from tests.command import gcisg
from tests.processes import context, start_command

ROOT = Path(__file__).parents[1]
# The variant x=2 hangs at the first attempt, x=3 fails until it is mended, x=4 waits for a file.
STAND_IN = """
import os, time
from pathlib import Path
import gcisg_core.integrations.mmengine  # as the real one, so that it is loaded once for all runs
PROJECT = Path()
def train_and_test(file, work_dir, overrides, seed):
    work_dir.mkdir(parents=True, exist_ok=True)
    (work_dir / "pid").write_text(str(os.getpid()))
    if overrides == ["x=2"] and not (work_dir / "again").exists():
        (work_dir / "again").touch()
        time.sleep(600)
    while overrides == ["x=4"] and not (work_dir / "go").exists():
        time.sleep(0.05)
    if overrides == ["x=3"] and not (work_dir / "mended").exists():
        raise ValueError("no such thing as 3")
    return {"seconds": 0.0, "test": {"accuracy": 50.0 + seed}}
"""


@pytest.fixture
def words(tmp_path, monkeypatch):
    """Of the command, which finds the stand-in in processes of its own and in those of this one."""
    package = tmp_path / "stand_in" / "gcisg_cls"
    package.mkdir(parents=True)
    for name in ("__init__", "mini", "model_metrics"):
        (package / f"{name}.py").write_text(STAND_IN)
    monkeypatch.syspath_prepend(package.parent)
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join(filter(None, sys.path)))
    monkeypatch.setattr(sweep, "_context", lambda modules: context())
    monkeypatch.chdir(tmp_path)
    (tmp_path / "mine.py").write_text("x = 1\n")
    (tmp_path / "grid.yaml").write_text("grid: {x: [1, 2]}\n")
    return ["sweep", "--config", "mine.py", "--sweep", "grid.yaml"]


def wait(condition):
    deadline = time.monotonic() + 120
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.02)


def is_running(pid):
    """Whether it is there and has not ended (a zombie waits for whoever adopted it)."""
    status = Path(f"/proc/{pid}/stat")
    return status.exists() and status.read_text().rpartition(")")[2].split()[0] != "Z"


def test_a_killed_sweep_leaves_nothing_running_and_is_finished_by_the_next(words, tmp_path):
    out, work = tmp_path / "grid_mine_test.jsonl", tmp_path / "runs/sweeps/classification/grid_mine_test"
    command = [sys.executable, str(ROOT / "tools/sweep.py"), *words[1:]]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    wait(lambda: [*work.glob("mine_x_2/*/again")])
    (hanging,) = work.glob("mine_x_2/seed_0_*")
    pid = int((hanging / "pid").read_text())
    assert is_running(pid)
    process.send_signal(signal.SIGKILL)
    process.wait()
    wait(lambda: not is_running(pid))
    first = out.read_text()
    out.write_text(first + '{"variant": "mi')  # as if the kill had met the writing of a line

    finished = gcisg(*words)
    assert finished.code == 0, finished.err
    assert "evaluating: 1 run" in finished.err  # what was done is not run again
    assert out.read_text().startswith(first)
    lines = [json.loads(line) for line in out.read_text().splitlines()]
    assert [line["variant"] for line in lines] == ["mine, x 1", "mine, x 2"]
    assert len({line["hash"] for line in lines}) == 2
    assert lines[0].keys() >= {"config", "overrides", "seed", "seconds", "peak_mb", "versions", "test"}
    assert ["resumed" in line for line in lines] == [False, True]
    assert "| mine, x 2 | 1 " in " ".join(finished.out.split())


def test_a_finished_run_is_read_again_but_not_for_another_config(words, tmp_path):
    (tmp_path / "grid.yaml").write_text("grid: {x: [1]}\n")
    out, work = tmp_path / "grid_mine_test.jsonl", tmp_path / "runs/sweeps/classification/grid_mine_test/mine_x_1"

    def swept():
        assert gcisg(*words).code == 0
        line = out.read_text()
        out.unlink()
        return line, {path.name: int((path / "pid").read_text()) for path in work.iterdir()}

    first, runs = swept()
    assert swept() == (first, runs)
    (tmp_path / "mine.py").write_text("x = 1\ny = 2\n")
    other, both = swept()
    assert json.loads(other)["hash"] != json.loads(first)["hash"]
    assert len(both) == 2
    assert both.items() > runs.items()


def test_two_sweeps_with_one_output_write_each_run_once(words, tmp_path):
    (tmp_path / "grid.yaml").write_text("grid: {x: [4, 1]}\n")
    first = start_command(*words, "--jobs", "1")
    runs = tmp_path / "runs/sweeps/classification/grid_mine_test"
    wait(lambda: [*runs.glob("mine_x_4/*/pid")])
    assert gcisg(*words, "--only", "mine, x 1").code == 0  # which the first has yet to run
    (waiting,) = runs.glob("mine_x_4/*/pid")
    (waiting.parent / "go").touch()
    first.join()
    assert first.exitcode == 0
    lines = [json.loads(line) for line in (tmp_path / "grid_mine_test.jsonl").read_text().splitlines()]
    assert sorted(line["variant"] for line in lines) == ["mine, x 1", "mine, x 4"]


@pytest.mark.remedy("Failed runs: {}. To try them again, run the same command")
def test_a_run_that_fails_is_named_and_the_others_are_kept(words, tmp_path):
    (tmp_path / "grid.yaml").write_text("grid: {x: [3, 1]}\n")
    ended = gcisg(*words, "--seeds", "2")
    assert ended.code == 1
    assert "Failed runs: 1. To try them again, run the same command" in ended.err
    assert "mine, x 3, seed 2: no such thing as 3" in ended.err
    (line,) = (tmp_path / "grid_mine_test.jsonl").read_text().splitlines()
    assert json.loads(line)["test"] == {"accuracy": 52.0}
    (failed,) = (tmp_path / "runs/sweeps/classification/grid_mine_test/mine_x_3").iterdir()
    (failed / "mended").touch()
    assert gcisg(*words, "--seeds", "2").code == 0
    assert len((tmp_path / "grid_mine_test.jsonl").read_text().splitlines()) == 2


def test_jobs_outlive_a_killed_sweep_and_are_found_by_the_next(words, tmp_path):
    pytest.importorskip("submitit")
    (tmp_path / "grid.yaml").write_text("grid: {x: [3, 4]}\n")
    out, work = tmp_path / "grid_mine_test.jsonl", tmp_path / "runs/sweeps/classification/grid_mine_test"
    words = [*words, "--launcher", "local", "--jobs", "2"]
    process = start_command(*words)
    wait(lambda: [*work.glob("mine_x_4/*/pid")])
    wait(lambda: [*work.glob("jobs/*_result.pkl")])  # of the one that failed
    process.kill()
    process.join()
    (waiting,) = work.glob("mine_x_4/*")
    pid = int((waiting / "pid").read_text())
    assert is_running(pid)
    jobs = json.loads((work / "jobs/jobs.json").read_text())
    (failed,) = (int(job) for folder, job in jobs.items() if "mine_x_3" in folder)
    wait(lambda: not is_running(failed))  # a job writes its result before it ends

    def let_it_end_once_the_one_that_failed_is_tried_again():
        try:
            wait(lambda: json.loads((work / "jobs/jobs.json").read_text()) != jobs)
        finally:
            (waiting / "go").touch()

    meanwhile = threading.Thread(target=let_it_end_once_the_one_that_failed_is_tried_again)
    meanwhile.start()
    again = gcisg(*words)
    meanwhile.join()
    assert again.code == 1
    assert "Failed runs: 1. To try them again, run the same command" in again.err
    assert "mine, x 3, seed 0: ValueError: no such thing as 3 (log: " in again.err
    assert int((waiting / "pid").read_text()) == pid
    assert [json.loads(line)["variant"] for line in out.read_text().splitlines()] == ["mine, x 4"]


def test_a_job_whose_time_is_over_is_queued_again_as_it_is(words, tmp_path):
    submitit = pytest.importorskip("submitit")
    run = Run("classification", "A", Variant(str(tmp_path / "mine"), []), 3, "test", "work")
    assert run.checkpoint().function is run
    executor = submitit.AutoExecutor(tmp_path / "jobs", cluster="debug")
    (tmp_path / run.folder).mkdir(parents=True)
    (tmp_path / run.folder / "run.json").write_text('{"variant": "A"}')
    assert executor.submit(run).result() == {"variant": "A"}


def test_of_a_cancelled_job_slurm_says_why_it_ended(words, tmp_path):
    """The error of a job that `scancel` ended."""
    text = f"""Job 6 (task: 0) with path {tmp_path}/6_0_result.pkl
has not produced any output (state: CANCELLED)
Error stream produced:
----------------------------------------
slurmstepd-vm: error: *** STEP 6.0 ON vm CANCELLED AT 2026-11-27T09:15:03 ***
submitit WARNING (2026-11-27 09:15:03,312) - Bypassing signal SIGTERM
submitit WARNING (2026-11-27 09:15:03,312) - Bypassing signal SIGCONT"""
    job = SimpleNamespace(exception=lambda: RuntimeError(text), paths=SimpleNamespace(stderr=tmp_path / "6_0_log.err"))
    run = Run("classification", "A", Variant(str(tmp_path / "mine"), []), 3, "test", "work")
    why = f"slurmstepd-vm: error: *** STEP 6.0 ON vm CANCELLED AT 2026-11-27T09:15:03 *** (log: {tmp_path}/6_0_log.err)"
    assert _outcome(run, job) == (None, why)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--launcher", "slurm"], 'error: --launcher slurm: Could not detect "srun"'),
        (
            ["--launcher", "local", "--job-options", "gpus=2"],
            "error: --job-options gpus=2: Parameter 'gpus' need to be",
        ),
        (["--launcher", "local", "--job-options", "gpus"], "error: --job-options gpus: 'gpus' must be NAME=VALUE"),
    ],
)
def test_a_cluster_that_is_not_there_and_an_unknown_option_are_refused(words, arguments, message, monkeypatch):
    pytest.importorskip("submitit")
    monkeypatch.setenv("PATH", "")  # a machine of a cluster has srun
    with pytest.raises(SystemExit) as stopped:
        main([*words, *arguments])
    assert str(stopped.value.code).startswith(message)


@pytest.mark.parametrize(("gpu", "start"), [(True, "spawn"), (False, "forkserver")])
def test_runs_are_no_forks_where_there_is_a_gpu(gpu, start, monkeypatch):
    """A process that has looked for a GPU, as the frameworks do when they are loaded, hands no GPU to its forks."""
    monkeypatch.setattr(torch.cuda, "is_available", lambda: gpu)
    assert sweep._context([]).get_start_method() == start
