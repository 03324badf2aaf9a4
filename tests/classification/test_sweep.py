"""A real sweep of a config of one's own, killed and started again."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

from gcisg_cls.mini import PROJECT

from .conftest import CLASSES

ROOT = Path(__file__).parents[2]
CONFIG = f"""
_base_ = "{PROJECT}/baseline_mini.py"
classes = {CLASSES}
train_cfg = dict(max_iters=2, val_interval=2)
train_dataloader = dict(batch_size=4, dataset=dict(dataset=dict(classes=classes)))
val_dataloader = dict(dataset=dict(classes=classes))
test_dataloader = dict(dataset=dict(classes=classes))
model = dict(num_classes=3)
"""


def alive(folder):
    """Processes that work in a folder."""
    found = []
    for process in Path("/proc").glob("[0-9]*"):
        try:
            if (process / "cwd").resolve() == folder.resolve() and b"resource_tracker" not in (
                process / "cmdline"
            ).read_bytes():
                found.append(int(process.name))
        except OSError:  # ended, or another user's
            continue
    return {*found} - {os.getpid()}


def wait(condition, seconds=300):
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.05)


def test_a_killed_sweep_leaves_nothing_running_and_is_finished_by_the_next(mini):
    folder = mini / "work"
    folder.mkdir()
    (mini / "tiny.py").write_text(CONFIG)
    (mini / "grid.yaml").write_text("grid: {optim_wrapper.optimizer.lr: [0.01, 0.02]}\n")
    out = mini / "grid_tiny_test.jsonl"
    command = [sys.executable, ROOT / "tools/sweep.py", "--config", mini / "tiny.py", "--grid", mini / "grid.yaml"]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path)), "OMP_NUM_THREADS": "1"}

    process = subprocess.Popen(
        command, cwd=folder, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    wait(lambda: out.is_file() and out.read_bytes().endswith(b"\n"))
    wait(lambda: alive(folder) - {process.pid})  # the second run has begun
    process.send_signal(signal.SIGKILL)
    process.wait()
    wait(lambda: not alive(folder), seconds=60)
    first = out.read_text()
    assert len(first.splitlines()) == 1, "the sweep was over before it could be killed"
    out.write_text(first + '{"variant": "ti')  # as if the kill had met the writing of a line

    finished = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, check=False)
    assert finished.returncode == 0, finished.stderr[-3000:]
    assert out.read_text().startswith(first)
    lines = [json.loads(line) for line in out.read_text().splitlines()]
    assert [line["variant"] for line in lines] == ["tiny, lr 0.01", "tiny, lr 0.02"]
    assert len({line["hash"] for line in lines}) == 2
    for line in lines:
        assert {"accuracy", "match_rate", "cka"} == line["test"].keys()
        assert line.keys() >= {"seed", "seconds", "peak_mb", "versions", "overrides"}
    assert "| tiny, lr 0.02" in finished.stdout
    assert "1/1" in finished.stderr  # what was done is not run again
