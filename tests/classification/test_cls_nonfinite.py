"""A classification run that overflows: stopped with a file that runs the step again, or continuing without the step."""

import math
import os
import re
import shlex
import subprocess
import sys
from itertools import pairwise
from pathlib import Path

import pytest
import torch

from gcisg_core.integrations.mmengine import build_runner
from gcisg_core.nan.record import load, save
from gcisg_core.nan.recorder import VERSION, NonFiniteError
from tests.command import gcisg

from .conftest import TINY

ROOT = Path(__file__).parents[2]


QUEUE = "model.regularizer.queue_length=30"


def train(folder, *overrides, plant=None):
    """The runner after training; `plant` is given the runner before it."""
    settings = [*TINY, QUEUE, "default_hooks.checkpoint.interval=100", *overrides]
    runner = build_runner(ROOT / "projects/classification/gcisg_mini.py", settings, folder)
    if plant:
        plant(runner)
    runner.train()
    return runner


class Poison:
    """Makes one image of the third batch infinite, on its way into the model."""

    def __init__(self, runner):
        self.batches, self.model = 0, runner.model
        runner.model.data_preprocessor.register_forward_hook(self)

    def __call__(self, module, inputs, output):
        if module.training:
            self.batches += 1
            if self.batches == 3:
                output["inputs"][1][0, 0, 0, 0] = math.inf


@pytest.mark.remedy(" (batch: {}). Run it again: {}", "commands/replay.py: Record the step again")
def test_a_run_that_diverges_stops_and_its_step_runs_again(mini):
    with pytest.raises(NonFiniteError, match=r"loss_task is nan; .*loss_ci_stage3 is nan.*at iteration 1") as error:
        train(mini / "run", "optim_wrapper.optimizer.lr=1e30", "optim_wrapper.clip_grad=None")
    file = mini / "run/nonfinite_iter1_rank0.pth"
    assert str(file) in str(error.value)
    assert "such steps instead: custom_hooks=[dict(type='RegularizerHook', on_nonfinite='skip')]" in str(error.value)
    record = load(file, VERSION)
    assert len(record["batch"]) == 4
    assert all(Path(name).is_file() for name in record["batch"])
    assert [list(view.shape) for view in record["views"]] == [[4, 3, 64, 64]] * 2
    assert record["statistics"]["queues.stage3"]["shape"] == [30, 128]
    command = [sys.executable, str(ROOT / "tools/analyze.py"), "--replay", str(file)]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)
    assert "The step is the same" in done.stdout
    assert "loss_ci_stage4" in done.stdout
    assert "features, view 1, stage 3" in done.stdout
    (printed,) = re.findall(r"Run it again: gcisg (replay .*?)\. To skip such steps", str(error.value))
    assert "The step is the same" in gcisg(*shlex.split(printed)).out
    save({name: value for name, value in record.items() if name != "losses"}, mini / "nonfinite_old.pth")
    assert (
        "that this version can run again (KeyError: 'losses'). Record the step again"
        in gcisg("replay", mini / "nonfinite_old.pth").err
    )


@pytest.mark.parametrize(
    ("order", "place"),
    [("before_step", "custom_hooks.0"), ("after_step", "custom_hooks.0"), ("after_step", "model.regularizer")],
)
def test_skip_goes_on_without_the_step(mini, capfd, order, place):
    states = []

    class Keep(Poison):
        def __call__(self, module, inputs, output):
            super().__call__(module, inputs, output)
            if module.training:
                states.append({name: value.clone() for name, value in self.model.state_dict().items()})

    runner = train(
        mini / "skip",
        f"{place}.on_nonfinite=skip",  # of the hook, or among the method's settings as in earlier versions
        f"model.regularizer.momentum_update={order}",
        plant=Keep,
    )
    assert runner.iter == 6
    unchanged = [all(torch.equal(a[name], b[name]) for name in a) for a, b in pairwise(states)]
    assert unchanged == [False, False, True, False, False]  # between the starts of steps 2 and 3
    assert all(value.isfinite().all() for value in runner.model.state_dict().values())
    # Two views of four images in each of the five steps that count.
    assert runner.model.regularizer.queues["stage3"].pointer == 5 * 8 % 30
    log = "".join(capfd.readouterr())
    assert "Step skipped: loss_ci_stage3 is nan; loss_ci_stage4 is nan at iteration 2" in log
    assert "skipped_steps: 1" in log


def test_another_value_ends_before_training(mini):
    with pytest.raises(ValueError, match=r"on_nonfinite of RegularizerHook \(custom_hooks\) must be 'stop' or 'skip'"):
        train(mini / "run", "custom_hooks.0.on_nonfinite=ignore")


def test_the_method_reads_the_gradients_before_they_are_clipped(mini):
    """Synaptic Intelligence sums the gradients of the loss, whatever the optimiser makes of them."""
    norms = {"after_backward": [], "before_optimizer_step": []}

    def watch(runner):
        method = runner.model.regularizer
        for name, seen in norms.items():
            told = getattr(method, name)

            def note(*args, told=told, seen=seen):
                seen.append(
                    torch.nn.utils.get_total_norm([p.grad for p in runner.model.parameters() if p.grad is not None])
                )
                told(*args)

            setattr(method, name, note)

    train(mini / "run", "optim_wrapper.clip_grad.max_norm=0.01", plant=watch)
    assert len(norms["after_backward"]) == len(norms["before_optimizer_step"]) > 1
    assert min(norms["after_backward"]) > 0.1
    assert max(norms["before_optimizer_step"]) < 0.0101


def test_two_runs_of_one_second_have_logs_of_their_own(mini, monkeypatch):
    monkeypatch.setattr("mmengine.runner.runner.time.time", lambda: 1.7e9)
    for name in ("first", "second"):
        runner = build_runner(ROOT / "projects/classification/gcisg_mini.py", [*TINY, QUEUE], mini / name)
        runner.logger.info("here is the %s", name)
    for name in ("first", "second"):
        (log,) = (mini / name).glob("*/*.log")
        assert f"here is the {name}" in log.read_text()
