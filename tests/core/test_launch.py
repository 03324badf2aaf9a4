"""Two processes of a run: one that fails, is killed or stopped ends the other, and is said once, as one line."""

import os
import signal
import socket
import threading
import time
from pathlib import Path

import pytest
import torch
import torch.distributed as dist

from gcisg_core.launch import Machines, launch, rank_timeout
from gcisg_core.nonfinite import NonFiniteError
from gcisg_core.run_folder import on_first_rank
from tests.processes import on_two_ranks


def run(folder, fate, faulty):
    """Steps that need both processes, in the third of which one meets its fate."""
    dist.init_process_group("gloo", timeout=rank_timeout())
    fates = {
        "refuse": open_refused,
        "setting": lambda: refuse(f"lr is -1 in process {dist.get_rank()}"),
        "nan": nan,
        "bug": lambda: {}["missing"],
        "kill": lambda: os.kill(os.getpid(), signal.SIGKILL),
        "stop": lambda: os.kill(os.getpid(), signal.SIGSTOP),
    }
    for step in range(6):
        if step == 3:
            (Path(folder) / f"pid{dist.get_rank()}").write_text(f"{os.getpid()} {time.time()}")
            if faulty in (dist.get_rank(), "both"):
                fates[fate]()
        dist.all_reduce(torch.ones(1))
    (Path(folder) / f"done{dist.get_rank()}").touch()
    dist.destroy_process_group()


def refuse(message):
    raise ValueError(message)


def nan():
    raise NonFiniteError("loss is nan")


def open_refused():
    on_first_rank(lambda: refuse("the folder holds another run"))


def is_running(pid):
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


def go_on_after(folder):
    """Let the stopped process meet the signal that ends it; otherwise it is killed half a minute later."""
    while len(pids := {path.name: int(path.read_text().split()[0]) for path in folder.glob("pid*")}) < 2:
        time.sleep(0.1)
    while is_running(pids["pid0"]):
        time.sleep(0.1)
    os.kill(pids["pid1"], signal.SIGCONT)


@pytest.mark.remedy("--resume continues from the last checkpoint")
@pytest.mark.parametrize(
    ("fate", "faulty", "error", "message", "seconds"),
    [
        ("setting", "both", ValueError, "^lr is -1 in process [01]$", 8),
        ("refuse", "both", ValueError, "^the folder holds another run$", 8),
        ("nan", 1, ValueError, "^loss is nan$", 8),
        ("bug", 1, SystemExit, "Process 1 terminated with the following error:(.|\n)*KeyError: 'missing'", 8),
        ("kill", 0, ValueError, r"process 0 was killed \(SIGKILL\), so the others were ended. --resume continues", 8),
        ("kill", 1, ValueError, r"process 1 was killed \(SIGKILL\), so the others were ended. --resume continues", 8),
        ("stop", 1, ValueError, "a process of this run has stopped or does not answer .*wait 3 s for each other", 12),
    ],
)
def test_one_that_fails_ends_the_other(tmp_path, capfd, monkeypatch, fate, faulty, error, message, seconds):
    monkeypatch.setenv("GCISG_RANK_TIMEOUT", "3")
    if fate == "stop":
        threading.Thread(target=go_on_after, args=(tmp_path,), daemon=True).start()
    with pytest.raises(error, match=message):
        launch(run, 2, str(tmp_path), fate, faulty)
    ended = time.time()
    started = [path.read_text().split() for path in tmp_path.glob("pid*")]
    assert len(started) == 2
    assert not any(is_running(int(pid)) for pid, _ in started)
    assert ended - max(float(moment) for _, moment in started) < seconds
    assert not [*tmp_path.glob("done*")]
    shown = capfd.readouterr()
    assert "Traceback" not in shown.out + shown.err


def test_a_wrong_time_out_is_said_before_anything_starts(monkeypatch):
    monkeypatch.setenv("GCISG_RANK_TIMEOUT", "0")
    with pytest.raises(ValueError, match="GCISG_RANK_TIMEOUT is '0', expected a whole number of seconds above 0"):
        launch(run, 2)


def say_place(folder):
    """Each process writes who it is, once all have met."""
    dist.init_process_group("gloo", timeout=rank_timeout())
    names = ("RANK", "LOCAL_RANK", "WORLD_SIZE", "LOCAL_WORLD_SIZE")
    dist.barrier()
    (Path(folder) / os.environ["RANK"]).write_text(" ".join(os.environ[name] for name in names))
    dist.destroy_process_group()


def machine(rank, folder, port):
    launch(say_place, 1, folder, machines=Machines(2, rank, f"tcp://127.0.0.1:{port}"))


@pytest.mark.remedy("give tcp://<address of machine 0>:<free port>")
def test_the_processes_of_two_machines_meet(tmp_path):
    with pytest.raises(ValueError, match="--dist-url auto works on one machine; give tcp://"):
        launch(say_place, 1, machines=Machines(2))
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    on_two_ranks(machine, str(tmp_path), port)
    assert {path.name: path.read_text() for path in tmp_path.iterdir()} == {"0": "0 0 2 1", "1": "1 0 2 1"}


@pytest.mark.parametrize(
    ("machines", "message"),
    [
        (Machines(2, 2, "tcp://a:1"), "--machine-rank 2: expected 0 to 1, as --num-machines says"),
        (Machines(2, 1, "10.0.0.1:29500"), "--dist-url 10.0.0.1:29500: expected tcp://<address of machine 0>"),
    ],
)
def test_machines_that_cannot_meet_are_refused_before_anything_starts(machines, message):
    with pytest.raises(ValueError, match=message):
        launch(run, 1, machines=machines)
