"""The parts of benchmarks/gpu.py, in the order of their value."""

from __future__ import annotations

import gc
import os
import platform
import re
import subprocess
from collections.abc import Callable, Sequence
from functools import partial
from importlib import metadata
from pathlib import Path
from typing import Any, NamedTuple

from _gpu_run import Part, Run

ROOT = Path(__file__).resolve().parents[1]
GB = 2**30
PACKAGES = ("torch", "torchvision", "triton", "numpy", "mmengine", "onedl-mmengine", "mmcv-lite", "onedl-mmcv",
            "mmsegmentation", "onedl-mmsegmentation", "detectron2", "detectron2-cdo", "timm", "pytest")  # fmt: skip


def environment(run: Run) -> None:
    """What everything below was measured on."""
    import torch

    facts: dict[str, Any] = {"python": platform.python_version(), "system": platform.platform()}
    facts["cores"] = len(os.sched_getaffinity(0))
    for name in PACKAGES:
        try:
            facts[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            facts[name] = "not installed"
    facts["cuda"], facts["device"] = torch.version.cuda, run.settings.device
    if run.settings.device == "cuda":
        about = torch.cuda.get_device_properties(0)
        facts |= {
            "gpu": about.name,
            "memory, GB": round(about.total_memory / GB, 1),
            "compute capability": f"{about.major}.{about.minor}",
            "multiprocessors": about.multi_processor_count,
            "cudnn": torch.backends.cudnn.version(),
            "nccl": ".".join(map(str, torch.cuda.nccl.version())),
        }
        query = ["nvidia-smi", "--query-gpu=driver_version", "--format=csv,noheader"]
        with run.guarded("environment", what="driver") as row:
            row["value"] = subprocess.run(query, capture_output=True, text=True, check=True).stdout.strip()
    for name, value in facts.items():
        run.emit("environment", {"what": name, "value": value})


class _Reporter:
    """A plugin of pytest that hands on each test's result as soon as it is known."""

    def __init__(self, run: Run) -> None:
        self.run, self.counts = run, {"passed": 0, "failed": 0, "skipped": 0}

    def pytest_runtest_logreport(self, report: Any) -> None:
        if report.when == "call" or report.outcome != "passed":
            self._note(report.nodeid, report.outcome, report.duration, report.longreprtext)
        if self.run.left() < 0:
            import pytest

            pytest.exit("the part's time is over")

    def pytest_collectreport(self, report: Any) -> None:
        if report.outcome == "failed":
            self._note(report.nodeid, "failed", 0.0, report.longreprtext)

    def _note(self, test: str, outcome: str, seconds: float, text: str) -> None:
        self.counts[outcome] += 1
        self.run.emit("tests", {"test": test, "outcome": outcome, "seconds": round(seconds, 2)})
        if outcome == "failed":
            self.run.emit("problems", {"where": test, "traceback": text})


def device_tests(run: Run) -> None:
    """All tests of the marker `gpu`, or the same on the CPU; in miniature those of two files.

    Raises:
        RuntimeError: no test ran, or one failed.
    """
    import pytest

    marker = "gpu" if run.settings.device == "cuda" else "cpu_of_gpu"
    every = sorted((ROOT / "tests").rglob("test_*.py"))
    files = [path for path in every if re.search(r"mark\.gpu|\bdevice\b", path.read_text())]
    if run.settings.tiny:
        files = [path for path in files if path.stem in ("test_losses", "test_views")]
    options = ["-q", "-m", marker, "-p", "no:cacheprovider", "--rootdir", ROOT, "-c", ROOT / "pyproject.toml"]
    workers = min(8, len(os.sched_getaffinity(0)) // 2) if run.settings.device == "cuda" else 0
    more = ["--continue-on-collection-errors", "-n", workers]
    reporter = _Reporter(run)
    os.chdir(ROOT)
    pytest.main([*map(str, [*options, *more, *files])], plugins=[reporter])
    if reporter.counts["failed"] or not reporter.counts["passed"]:
        raise RuntimeError(", ".join(f"{count} {outcome}" for outcome, count in reporter.counts.items()))


class Variant(NamedTuple):
    """How a step is computed: autocast's type (None for TF32, on a CPU float32), memory order, `torch.compile`."""

    name: str
    dtype: str | None = None
    channels_last: bool = False
    compiled: bool = False


FIRST = (Variant("float32 (TF32)"), Variant("float16", "float16"))
FURTHER = (
    Variant("bfloat16", "bfloat16"),
    Variant("float16, channels last", "float16", channels_last=True),
    Variant("bfloat16, compiled", "bfloat16", compiled=True),
)


def steps(task: str, variants: Sequence[Variant], run: Run) -> None:
    """Time and peak memory of a step of none, CSG and GCISG at the paper's size, over their floors."""
    import torch
    from _tasks import METHODS, MINIATURES, PAPERS

    torch.set_float32_matmul_precision("high")
    torch.backends.cudnn.allow_tf32 = True
    if run.settings.device == "cpu":
        torch.set_num_threads(1)
    recipe = (MINIATURES if run.settings.tiny else PAPERS)[task]
    gc.freeze()  # else each collection goes through all modules
    for variant in variants:
        for method in METHODS:
            if run.settings.tiny and variant in FURTHER and not _kept_in_miniature(task, method, variant):
                continue
            what = {"task": task, "batch": str(recipe.size), "precision": variant.name, "method": method}
            with run.guarded("steps", **what) as row:
                run.need(0 if run.settings.tiny else 60 if variant.compiled else 10)
                row |= _measured(task, method, variant, recipe, run)
            gc.collect()
            torch._dynamo.reset()
            torch.cuda.empty_cache()


def _kept_in_miniature(task: str, method: str, variant: Variant) -> bool:
    """One method's further precisions, and one step that is compiled: tracing takes seconds each."""
    return method == "gcisg" and (task == "classification" or not variant.compiled)


def _measured(task: str, method: str, variant: Variant, recipe: Any, run: Run) -> dict[str, float]:
    import torch
    from _floor import floor_of
    from _measure import medians, peak_growth
    from _tasks import TASKS, Step, Trainer, in_channels_last

    tiny, device = run.settings.tiny, run.settings.device
    dtype = getattr(torch, variant.dtype) if variant.dtype else None
    trainers: dict[str, Trainer] = {}

    def prepare(name: str, build: Callable[[], Step]) -> None:
        torch.manual_seed(0)
        step = in_channels_last(build()) if variant.channels_last else build()
        if regularizer := getattr(step.model, "regularizer", None):
            regularizer.init_from_student()  # as the NaN recorder does before the first step
        if variant.compiled and not (tiny and name == "floor"):
            # As mmengine does it; tracing alone, and that of our own code, where the compiler's minutes are not there.
            step = step._replace(losses=torch.compile(step.losses, backend="eager" if tiny else "inductor"))
        trainers[name] = Trainer(step, dtype)
        for _ in range(1 if tiny else 3):
            trainers[name]()

    make = partial(TASKS[task], size=recipe.size, device=device)
    own = recipe.config.format("baseline" if method == "none" else method)
    memory = {
        "floor": peak_growth(
            lambda: prepare("floor", lambda: floor_of(make(own, method=None, plain=True), method)), device
        ),
        "own": peak_growth(lambda: prepare("own", lambda: make(own, method=None)), device),
    }
    seconds = medians(trainers, 1, device, warm_up=0)
    if not tiny:
        runs = int(min(5.0, run.left() / 3) / sum(seconds.values()))
        seconds = medians(trainers, max(3, min(15, runs)), device)
    return {
        "s / step": seconds["own"],
        "images / s": recipe.size.images / seconds["own"],
        "floor, s": seconds["floor"],
        "of its floor": seconds["own"] / seconds["floor"],
        "peak GB": memory["own"] / 1024,
        "floor's peak GB": memory["floor"] / 1024,
    }


def losses(run: Run) -> None:
    """Both losses over the queue against their plain forms."""
    import ci_loss
    import torch
    from _measure import medians, peak_growth

    device, length = run.settings.device, 512 if run.settings.tiny else ci_loss.K
    for rows in (8,) if run.settings.tiny else (64, 1024, 4096):
        for loss, (title, forms) in ci_loss.LOSSES.items():
            given = ci_loss.Inputs.random(rows, length, device)
            work = {form: partial(given.step, loss, form) for form in forms}
            with run.guarded("losses", loss=title, N=rows, K=length) as row:
                run.need(0 if run.settings.tiny else 5)
                given.step(loss, "plain")  # libraries take their memory before the measurement
                memory = {form: peak_growth(function, device) for form, function in work.items()}
                seconds = medians(work, 1 if run.settings.tiny else 15, device)
                for form in forms:
                    row |= {f"{form}, ms": 1000 * seconds[form], f"{form}, peak MB": memory[form]}
                row["times faster"] = seconds["plain"] / seconds["in tiles"]
            torch.cuda.empty_cache()


def loader(task: str, run: Run) -> None:
    """Images a second that the recipe's loader gives, from files of the real size."""
    from _gpu_loader import measure

    measure(task, run)


TASK_NAMES = ("classification", "segmentation", "detection")
PARTS = (
    Part("environment", environment, 5, 60),
    Part("tests", device_tests, 20, 150),
    *(Part(f"steps, {task}", partial(steps, task, FIRST), 25, 75) for task in TASK_NAMES),
    Part("losses", losses, 15, 40),
    *(Part(f"loader, {task}", partial(loader, task), 15, 60) for task in TASK_NAMES),
    *(Part(f"more steps, {task}", partial(steps, task, FURTHER), 40, 240) for task in TASK_NAMES),
)
