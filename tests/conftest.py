"""Shared by all tests.

No GPU means that the tests of the marker `gpu` are not collected; each has a CPU equivalent, most by the fixture
`device`: one function, two devices. `gcisg bench gpu` runs those of the GPU, `--device cpu` their equivalents. No
Chromium means the same for the marker `browser`: no package of the index brings one, so the workflow's machines do; and
Detectron2 0.5 the same for `detectron2_main`, what only upstream's main has.
"""

import gc
import importlib.util
import itertools
import logging
import os
import sys
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace

# The tests run in several processes, and bit-equal runs need equal numbers of threads, in child processes too.
os.environ["OMP_NUM_THREADS"] = "1"
os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")  # likewise on a GPU

import pytest
import torch

import gcisg_core.integrations.openmmlab  # noqa: F401 - before the mmseg of any test file
from gcisg_suite.gallery import browser

torch.set_num_threads(1)
sys.path[:0] = [str(project) for project in (Path(__file__).parents[1] / "projects").iterdir()]


@pytest.fixture(params=[pytest.param("cpu", marks=pytest.mark.cpu_of_gpu), pytest.param("cuda", marks=pytest.mark.gpu)])
def device(request: pytest.FixtureRequest) -> Iterator[str]:
    """Each device in turn; a GPU with algorithms that give the same bits again, where there are such."""
    torch.use_deterministic_algorithms(request.param == "cuda", warn_only=True)
    yield request.param
    torch.use_deterministic_algorithms(False)


@pytest.fixture
def slow(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each step of shown progress seems to take 4 seconds; nearest images are searched two at a time."""
    now = itertools.count(0.0, 4.0)
    monkeypatch.setattr("gcisg_suite.progress.time", SimpleNamespace(monotonic=lambda: next(now)))
    monkeypatch.setattr("gcisg_suite.audit.near.ROWS", 2)


@pytest.fixture(autouse=True)
def no_handlers_of_closed_screens() -> Iterator[None]:
    """mmengine keeps each run's logger for the life of the process, with the screen of the test that made it."""
    yield
    if loggers := sys.modules.get("mmengine.logging"):
        for logger in loggers.MMLogger._instance_dict.values():
            logger.handlers = [handler for handler in logger.handlers if type(handler) is not logging.StreamHandler]


def has_detectron2_main() -> bool:
    """Whether the Detectron2 that would be imported has what followed its last release; nothing of it is imported."""
    found = importlib.util.find_spec("detectron2")
    return bool(found and found.origin) and (Path(str(found.origin)).parent / "modeling/backbone/vit.py").is_file()


def pytest_report_header() -> str:
    return (
        f"browser: {browser() or 'none; apt-get install chromium, or CHROME=/its/path, for the tests that open pages'}"
    )


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    markers = {"gpu": torch.cuda.is_available(), "browser": browser(), "detectron2_main": has_detectron2_main()}
    absent = [name for name, there in markers.items() if not there]
    left_out = [item for item in items if any(item.get_closest_marker(name) for name in absent)]
    if left_out:
        config.hook.pytest_deselected(items=left_out)
        items[:] = [item for item in items if item not in left_out]


def pytest_collection_finish() -> None:
    """Garbage collections, of which mmengine makes one for each data set, leave out the modules that are loaded now."""
    gc.collect()
    gc.freeze()
