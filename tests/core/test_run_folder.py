"""One run and one process a folder, and the checkpoint that a run resumes from."""

import os
import signal
import subprocess
import sys
import uuid

import pytest
import torch

from gcisg_core.problems import DataError
from gcisg_core.run_folder import check_run, lock, newest_checkpoint, open_run, read_identity, release_all, run_name
from tests.processes import status_of

SETTINGS = {"optimizer": {"lr": 0.1}, "batch": 4, "names": ["a", "b"]}
HOLDER = """
import sys, time, os
from pathlib import Path
from gcisg_core.run_folder import lock
lock(Path(sys.argv[1]))
worker = os.fork() if sys.argv[2] == "worker" else 0
if worker:
    print(worker, flush=True)
if worker or sys.argv[2] == "alone":
    print("locked", flush=True)
time.sleep(60)
"""


@pytest.fixture(autouse=True)
def unlocked():
    yield
    release_all()


def save(folder, name, **content):
    torch.save({"w": torch.arange(1000.0), **content}, folder / name)
    return folder / name


def hold(folder, how="alone"):
    """Another process that has the folder's lock."""
    command = [sys.executable, "-c", HOLDER, str(folder), how]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    process = subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, text=True)
    lines = [process.stdout.readline().strip()]
    while lines[-1] != "locked":
        lines.append(process.stdout.readline().strip())
    return process, [int(line) for line in lines[:-1]]


class TestRuns:
    def test_a_new_folder_gets_an_identity(self, tmp_path):
        assert open_run(tmp_path / "run", SETTINGS, 3) is None
        identity = read_identity(tmp_path / "run")
        assert identity["seed"] == 3
        assert identity["settings"] == {"ranks": 1, **SETTINGS}
        assert len(identity["config_hash"]) == 8

    def test_a_run_resumes_under_its_name(self, tmp_path, capsys):
        open_run(tmp_path, SETTINGS, 3)
        name, newest = run_name(tmp_path), save(tmp_path, "iter_8.pth")
        assert open_run(tmp_path, SETTINGS, 3, resume=True) == newest
        assert run_name(tmp_path) == name
        assert capsys.readouterr().err == ""

    def test_a_new_run_in_a_used_folder_is_refused(self, tmp_path):
        open_run(tmp_path, SETTINGS, 3)
        save(tmp_path, "iter_8.pth")
        with pytest.raises(ValueError, match=r"holds a run \(seed 3, started 20.*iter_8.pth. --resume continues"):
            open_run(tmp_path, SETTINGS, 3)
        with pytest.raises(ValueError, match="seed 4 would make it another run"):
            open_run(tmp_path, SETTINGS, 4, resume=True)

    def test_a_seed_that_was_not_asked_for_is_the_runs(self, tmp_path, capsys):
        open_run(tmp_path, SETTINGS, 3)
        newest = save(tmp_path, "iter_8.pth")
        assert open_run(tmp_path, SETTINGS, 0, asked=False, resume=True) == newest
        assert "The run keeps its own seed, 3, instead of 0." in capsys.readouterr().err
        assert read_identity(tmp_path)["seed"] == 3

    def test_a_folder_without_checkpoints_is_no_run(self, tmp_path, capsys):
        open_run(tmp_path, SETTINGS, 3)
        name = run_name(tmp_path)
        assert open_run(tmp_path, SETTINGS, 4, resume=True) is None
        assert "Nothing to resume" in capsys.readouterr().err
        assert run_name(tmp_path) != name

    def test_what_killed_writers_left_is_removed(self, tmp_path, capsys):
        (tmp_path / "vis").mkdir()
        earlier = f"iter_3.pth.{uuid.uuid4().hex}.tmp"
        left = [earlier, ".iter_3.partial.pth", "model_0000001.partial.pth", "vis/.x.partial.json"]
        for name in [*left, "iter_2.pth.tmp.txt"]:
            (tmp_path / name).touch()
        open_run(tmp_path, SETTINGS, 3)
        assert all(name in capsys.readouterr().err or not (tmp_path / name).exists() for name in left)
        assert {path.name for path in tmp_path.iterdir()} == {"vis", "iter_2.pth.tmp.txt", "identity.json", ".lock"}

    def test_fresh_moves_the_old_run_aside(self, tmp_path, capsys):
        for number in (1, 2):
            open_run(tmp_path / "run", SETTINGS, number)
            save(tmp_path / "run", "iter_8.pth")
            assert open_run(tmp_path / "run", SETTINGS, 7, fresh=True) is None
            old = tmp_path / f"run.old{number}"
            assert (old / "iter_8.pth").is_file()
            assert read_identity(old)["seed"] == number
            assert f"is now in {old}" in capsys.readouterr().err
            assert not (tmp_path / "run/iter_8.pth").exists()

    def test_what_differs_is_said(self, tmp_path, capsys):
        open_run(tmp_path, SETTINGS, 3)
        save(tmp_path, "iter_8.pth")
        changed = {"optimizer": {"lr": 0.2}, "batch": 4, "names": ["a", "c", "d"]}
        open_run(tmp_path, changed, 3, ranks=2, resume=True)
        assert [line.strip() for line in capsys.readouterr().err.splitlines()] == [
            "The run continues with different settings:",
            "names.1: b -> c",
            "names.2: not set -> d",
            "optimizer.lr: 0.1 -> 0.2",
            "ranks: 1 -> 2",
        ]
        open_run(tmp_path, changed, 3, ranks=2, resume=True)
        assert capsys.readouterr().err == ""

    def test_a_folder_of_an_old_version_resumes(self, tmp_path, capsys):
        """Seed 1 was killed after iteration 8 in a folder that seed 0 had finished."""
        for number in (8, 24):
            save(tmp_path, f"iter_{number}.pth")
        (tmp_path / "last_checkpoint").write_text(str(tmp_path / "iter_8.pth"))
        assert open_run(tmp_path, SETTINGS, 1, resume=True) == tmp_path / "iter_8.pth"
        assert "written by a version without identity.json" in capsys.readouterr().err
        assert open_run(tmp_path, SETTINGS, 1, resume=True) == tmp_path / "iter_8.pth"
        assert capsys.readouterr().err == ""

    @pytest.mark.parametrize("content", [{"meta": {"run": "a1"}}, {"run": "a1", "trainer": {}}])
    def test_a_lost_identity_is_that_of_the_checkpoint(self, tmp_path, capsys, content):
        torch.save(content, tmp_path / "iter_8.pth")
        assert open_run(tmp_path, SETTINGS, 1, resume=True) == tmp_path / "iter_8.pth"
        assert "whose identity.json is missing" in capsys.readouterr().err
        assert run_name(tmp_path) == "a1"

    def test_another_runs_checkpoint_is_refused(self, tmp_path):
        open_run(tmp_path / "run", SETTINGS, 3)
        own = run_name(tmp_path / "run")
        check_run(tmp_path / "run", tmp_path / "run/iter_8.pth", own)
        check_run(tmp_path / "run", tmp_path / "run/iter_8.pth", None)  # of an old version
        check_run(tmp_path / "run", tmp_path / "elsewhere/iter_8.pth", "other")  # asked for by name
        with pytest.raises(DataError, match=rf"iter_8.pth: belongs to the run other, but .* belongs to the run {own}"):
            check_run(tmp_path / "run", tmp_path / "run/iter_8.pth", "other")

    def test_a_broken_identity_is_named(self, tmp_path):
        (tmp_path / "identity.json").write_text("{")
        with pytest.raises(DataError, match="identity.json: cannot be read"):
            open_run(tmp_path, SETTINGS, 3)


class TestNewestCheckpoint:
    def test_is_found_by_its_number(self, tmp_path):
        assert newest_checkpoint(tmp_path) is None
        for name in ("iter_900.pth", "iter_1000.pth", "best_mIoU_iter_2000.pth", "iter_3000.pth.abc.tmp"):
            save(tmp_path, name)
        assert newest_checkpoint(tmp_path) == tmp_path / "iter_1000.pth"
        assert not (tmp_path / "last_checkpoint").exists()  # looking changes nothing
        open_run(tmp_path, SETTINGS, 3, resume=True)
        assert (tmp_path / "last_checkpoint").read_text() == str(tmp_path / "iter_1000.pth")

    def test_the_final_one_of_detectron2_is_behind_the_numbers(self, tmp_path):
        for name in ("model_0000003.pth", "model_final.pth", "model_best.pth"):
            save(tmp_path, name)
        assert newest_checkpoint(tmp_path) == tmp_path / "model_final.pth"
        (tmp_path / "last_checkpoint").write_text("model_0000003.pth")
        assert newest_checkpoint(tmp_path) == tmp_path / "model_0000003.pth"

    @pytest.mark.parametrize(
        "damage",
        [
            lambda content: content[: len(content) // 2],
            lambda content: b"",
            lambda content: content[:1500] + bytes([content[1500] ^ 1]) + content[1501:],  # one bit of a tensor
        ],
    )
    def test_a_damaged_one_is_left_for_the_one_before_it(self, tmp_path, capsys, damage):
        for number in (1, 2, 3):
            save(tmp_path, f"model_000000{number}.pth")
        (tmp_path / "last_checkpoint").write_text("model_0000003.pth")
        newest = tmp_path / "model_0000003.pth"
        newest.write_bytes(damage(newest.read_bytes()))
        assert newest_checkpoint(tmp_path) == tmp_path / "model_0000002.pth"
        assert "model_0000003.pth is" in capsys.readouterr().err
        open_run(tmp_path, SETTINGS, 3, resume=True)
        assert (tmp_path / "last_checkpoint").read_text() == "model_0000002.pth"
        for number in (1, 2):
            path = tmp_path / f"model_000000{number}.pth"
            path.write_bytes(damage(path.read_bytes()))
        with pytest.raises(DataError, match="all of its checkpoints are damaged"):
            newest_checkpoint(tmp_path)


class TestLock:
    @pytest.mark.remedy("Wait for it or end it; or choose another --output")
    def test_a_second_process_is_refused_and_a_killed_one_forgotten(self, tmp_path):
        process, _ = hold(tmp_path)
        try:
            with pytest.raises(ValueError, match=rf"is in use by process {process.pid} on \S+. Wait for it or end it"):
                open_run(tmp_path, SETTINGS, 3)
            assert not (tmp_path / "identity.json").exists()
        finally:
            process.kill()
            process.wait()
        assert open_run(tmp_path, SETTINGS, 3) is None
        assert str(os.getpid()) in (tmp_path / ".lock").read_text()

    def test_a_worker_that_outlives_a_killed_run_does_not_hold_it(self, tmp_path):
        process, (worker,) = hold(tmp_path, "worker")
        process.kill()
        process.wait()
        os.kill(worker, 0)  # it lives
        try:
            assert open_run(tmp_path, SETTINGS, 3) is None
        finally:
            os.kill(worker, signal.SIGKILL)

    def test_is_moved_aside_with_its_run_and_held_for_the_new_one(self, tmp_path):
        save(tmp_path, "x.pth")
        folder = tmp_path / "run"
        open_run(folder, SETTINGS, 3)
        save(folder, "iter_1.pth")
        open_run(folder, SETTINGS, 4, fresh=True)
        for path, free in ((folder, False), (tmp_path / "run.old1", True)):
            assert (status_of(lock, path) == 0) is free
