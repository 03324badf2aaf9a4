"""Timing of alternatives in one process, in turn, so that a machine whose speed drifts treats them alike.

Without a GPU the seconds are those of one thread on its core: what else runs on the machine does not count.
"""

from __future__ import annotations

import platform
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, TypeVar

import torch
from tabulate import tabulate

from gcisg_core.files import write_text

T = TypeVar("T")
RESULTS = Path(__file__).parent / "results"


def best_device() -> str:
    return "cuda" if torch.cuda.is_available() else "cpu"


def medians(
    alternatives: Mapping[str, Callable[[], object]], runs: int, device: str | None = None, warm_up: int = 1
) -> dict[str, float]:
    """Median seconds of each alternative, A B C A B C ..., after ``warm_up`` rounds that are not counted."""
    seconds: dict[str, list[float]] = {name: [] for name in alternatives}
    on_gpu = (device or best_device()) == "cuda"
    clock = time.perf_counter if on_gpu else time.process_time
    if not on_gpu:
        torch.set_num_threads(1)
    for run in range(warm_up + runs):
        for name, function in alternatives.items():
            start = clock()
            function()
            if on_gpu:
                torch.cuda.synchronize()
            if run >= warm_up:
                seconds[name].append(clock() - start)
    return {name: statistics.median(values) for name, values in seconds.items()}


class Watch:
    """Seconds of the parts of a run, each without the parts inside it."""

    def __init__(self, device: str) -> None:
        self._on_gpu, self._inside, self._seconds = device == "cuda", 0.0, dict[str, float]()

    def _now(self) -> float:
        if not self._on_gpu:
            return time.process_time()
        torch.cuda.synchronize()
        return time.perf_counter()

    def timed(self, part: str, function: Callable[..., T]) -> Callable[..., T]:
        """The function, whose time counts to a part."""

        def run(*args: Any, **kwargs: Any) -> T:
            outside, self._inside = self._inside, 0.0
            start = self._now()
            try:
                return function(*args, **kwargs)
            finally:
                taken = self._now() - start
                self._seconds[part] = self._seconds.get(part, 0.0) + taken - self._inside
                self._inside = outside + taken

        return run

    def watch(self, holder: Any, path: str, part: str) -> None:
        """Let a method of an object, or of what it holds (``a.b``), count to a part; if there is one."""
        *parents, name = path.split(".")
        for parent in parents:
            holder = getattr(holder, parent, None)
        if hasattr(holder, name):
            setattr(holder, name, self.timed(part, getattr(holder, name)))

    def reset(self) -> dict[str, float]:
        """What was measured since the last call."""
        seconds, self._seconds = self._seconds, {}
        return seconds


def peak_memory(script: str, part: str) -> float:
    """MB by which the peak of a process of its own grows in `script part` (see :func:`report_peak`)."""
    output = subprocess.run([sys.executable, script, part], capture_output=True, text=True, check=True).stdout
    return float(output.splitlines()[-1])


def report_peak(function: Callable[[], object]) -> None:
    """Run once and print by how many MB the memory rose, see :func:`peak_growth`."""
    print(peak_growth(function))


def peak_growth(function: Callable[[], object], device: str | None = None) -> float:
    """MB by which the memory of the GPU, or else of the process, rose above what was held before, at its peak."""
    if (device or best_device()) == "cuda":
        torch.cuda.synchronize()
        held = torch.cuda.memory_allocated()
        torch.cuda.reset_peak_memory_stats()
        function()
        torch.cuda.synchronize()
        return (torch.cuda.max_memory_allocated() - held) / 2**20
    Path("/proc/self/clear_refs").write_text("5")  # the peak so far was that of imports
    before = _resident("VmRSS")
    function()
    return (_resident("VmHWM") - before) / 1024


def _resident(field: str) -> int:
    """kB; VmRSS is the memory held, VmHWM its peak (Linux)."""
    status = Path("/proc/self/status").read_text()
    return int(next(line.split()[1] for line in status.splitlines() if line.startswith(field)))


def machine() -> str:
    threads = torch.get_num_threads()
    without = f"{threads} thread{'s' if threads > 1 else ''}, no GPU"
    accelerator = torch.cuda.get_device_name() if torch.cuda.is_available() else without
    processor = next(
        (
            line.partition(":")[2].strip()
            for line in Path("/proc/cpuinfo").read_text().splitlines()
            if "model name" in line
        ),
        platform.processor(),
    )
    return f"{processor}, {accelerator}; Python {platform.python_version()}, torch {torch.__version__}"


def write_table(name: str, title: str, rows: list[list[object]], heads: list[str], notes: str) -> None:
    """Print the table and keep it in `results/<name>.md`."""
    table = tabulate(rows, headers=heads, tablefmt="github", floatfmt=".3g")
    page = f"# {title}\n\n{table}\n\n{notes}\n\nMachine: {machine()}.\n"
    print(page)
    write_text(RESULTS / f"{name}.md", page)
