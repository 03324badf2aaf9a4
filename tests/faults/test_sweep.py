"""The short form of `make faults`: a killed run of each task ends as one that was not killed."""

import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]


def test_killed_runs_end_as_the_whole_one():
    command = [sys.executable, "-m", "tests.faults.sweep", "--runs", "1", "--seed", "4"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout.count(": equal after ") == 3
    assert ": equal after 0 kills" not in done.stdout
    assert "0 of 3 runs ended otherwise than without a kill" in done.stdout
