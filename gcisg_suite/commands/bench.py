"""`gcisg bench`."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Literal

from gcisg_suite.commands.arguments import Device, Flag, UsageError
from gcisg_suite.places import benchmark


def bench(
    what: Literal["gpu"],
    *,
    output: Path = Path("runs/gpu"),
    minutes: float = 8.0,
    device: Device = None,
    tiny: Flag = False,
) -> int:
    """Test and measure everything on a GPU, in one command and a few minutes. It needs a checkout but no data.

    For example:

        gcisg bench gpu --output runs/gpu

    The parts are, the most important first: the environment, all tests that need a GPU, steps at the papers' sizes
    relative to their floors (the time of the unavoidable passes), the losses over the queue, the loaders, and further
    precisions. results.md has the tables, and lists what failed or did not fit into the time (docs/gpu.md).

    The exit code is 1 if something failed.

    Args:
        what: What to measure; only gpu.
        output: Folder of results.md, results.json and log.txt.
        minutes: Time limit; parts that do not fit are listed.
        tiny: Run the same code with small sizes, for machines without a GPU.
    """
    script = benchmark(what)
    if not script.is_file():
        raise UsageError(
            f"bench {what}: {script} does not exist. Benchmarks and tests are not in the installed package; run it in "
            f"a checkout of the repository, as `python benchmarks/{what}.py` or after `pip install -e .`"
        )
    if not minutes > 0:
        raise UsageError(f"--minutes {minutes:g}: expected a number above 0")
    given = ["--output", str(output), "--minutes", str(minutes), *(["--tiny"] if tiny else [])]
    chosen = ["--device", device] if device else []
    return subprocess.run([sys.executable, str(script), *given, *chosen], check=False).returncode
