#!/usr/bin/env python
"""CPU seconds until each subcommand of `gcisg` has shown its help, and until it has refused a wrong command line.

python benchmarks/startup.py
"""

from __future__ import annotations

import resource
import subprocess
import sys

from tabulate import tabulate

from gcisg_suite.cli import COMMANDS

WRONG = "--no-such-flag"
REPEATS = 3


def cpu_seconds(words: list[str]) -> float:
    """User and system time of a fresh process, the least of some."""
    times = []
    for _ in range(REPEATS):
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        subprocess.run([sys.executable, "-m", "gcisg_suite", *words], capture_output=True, check=False)
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        times.append(after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime)
    return min(times)


def main() -> None:
    rows = [["(all)", cpu_seconds(["--help"]), cpu_seconds(["no-such-command"])]]
    rows += [[name, cpu_seconds([name, "--help"]), cpu_seconds([name, WRONG])] for name in COMMANDS]
    print(tabulate(rows, headers=("command", "--help (s)", "usage error (s)"), tablefmt="github", floatfmt=".2f"))


if __name__ == "__main__":
    main()
