"""Shared by all tests: no GPU means that the tests of the marker `gpu` are not collected; each has a CPU equivalent."""

import os

# The tests run in several processes, and bit-equal runs need equal numbers of threads, in child processes too.
os.environ["OMP_NUM_THREADS"] = "1"

import pytest
import torch

torch.set_num_threads(1)


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    if torch.cuda.is_available():
        return
    on_gpu = [item for item in items if item.get_closest_marker("gpu")]
    config.hook.pytest_deselected(items=on_gpu)
    items[:] = [item for item in items if item not in on_gpu]
