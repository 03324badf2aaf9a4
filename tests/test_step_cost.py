"""`benchmarks/step_cost.py`: its floor makes the passes of a step, and its parts make up the whole."""

import runpy
import sys

import pytest
import torch
from torch import nn

from benchmarks._floor import PASSES, counting, floor_of
from benchmarks._tasks import MINIATURES, TASKS, settings_of
from tests.documents import ROOT


def make(task, method, **options):
    config, size = MINIATURES[task]
    return TASKS[task](config.format("baseline"), size, "cpu", method, **options)


CASES = [*(("classification", method) for method in PASSES), ("segmentation", "gcisg"), ("detection", "csg")]


@pytest.mark.parametrize(("task", "method"), CASES)
def test_the_floor_makes_the_passes_of_a_step(task, method):
    step, counts = make(task, settings_of(method)), []
    with counting(step.model, counts):
        step.losses()
    passes = PASSES[method]
    assert sum(counts) == 3 * (1 + passes.trained) + passes.untrained + passes.reference

    plain, made = make(task, None, plain=True), []
    module = nn.modules.module.register_module_forward_pre_hook(
        lambda module, _: made.append(torch.is_grad_enabled()) if isinstance(module, type(plain.backbone)) else None
    )
    try:
        floor_of(plain, method).losses().backward()
    finally:
        module.remove()
    assert made == [True] * (1 + passes.trained) + [False] * (passes.untrained + passes.reference)


def test_passes_without_gradients_may_be_in_bfloat16():
    for method, precision in (("gcisg", "same"), ("gcisg+bfloat16", "bfloat16")):
        regularizer = make("classification", settings_of(method)).model.regularizer
        assert (regularizer.settings.no_grad_precision, type(regularizer).__name__) == (precision, "GCISG")


def test_the_parts_of_a_step_make_it_up(monkeypatch, tmp_path):
    monkeypatch.syspath_prepend(ROOT / "benchmarks")
    import _measure

    monkeypatch.setattr(_measure, "RESULTS", tmp_path)
    words = ["--tasks", "classification", "--methods", "csg", "--batch", "2", "--size", "64", "--pairs", "2"]
    monkeypatch.setattr(sys, "argv", ["step_cost.py", *words])
    threads = torch.get_num_threads()
    try:
        runpy.run_path(str(ROOT / "benchmarks/step_cost.py"), run_name="__main__")
    finally:
        torch.set_num_threads(threads)
    rows = [line.split("|")[1:-1] for line in (tmp_path / "step_cost.md").read_text().splitlines() if "| csg" in line]
    (_, images, _, floor, step, ratio, _), *parts = ([cell.strip() for cell in row] for row in rows)
    assert images == "2 x 64 x 64"
    assert float(ratio) > 0.5
    for total, column in ((floor, 3), (step, 4)):
        # Medians of two, part by part, are means: their sum is that of the whole.
        assert sum(float(part[column]) for part in parts) == pytest.approx(1000 * float(total), rel=0.02)
    assert {part[2] for part in parts} >= {"the method's terms", "after the step", "backward pass"}
