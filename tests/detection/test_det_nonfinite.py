"""A detection run that overflows: our recorder comes before the framework's check, and the step runs again."""

import math
from itertools import pairwise

import pytest
import torch

pytest.importorskip("detectron2")
import gcisg_det  # noqa: F401  repairs Detectron2 0.5 before it is imported

# isort: split
from detectron2.engine import HookBase

from gcisg_core.integrations.detectron2.config import hook_values, regularizer_values
from gcisg_core.nan.record import load
from gcisg_core.nan.recorder import VERSION, NonFiniteError
from gcisg_det.config import read_config
from gcisg_suite.replay import report
from tests.detection.scenes import (
    PROJECT,
    RETINA,
    framework_log,
    tiny_config,
    train,
)

AMP = ["SOLVER.AMP.ENABLED", True]
CLIP = ["SOLVER.CLIP_GRADIENTS.ENABLED", True]


class Poison(HookBase):
    """The gradient of one weight is not finite at iteration 2; what the model is at the start of each step."""

    def __init__(self):
        self.states = []

    def before_step(self):
        trainer = self.trainer
        if not self.states:
            weight = trainer.model.backbone.bottom_up.res4[0].conv1.weight
            weight.register_hook(lambda gradient: gradient / 0 if trainer.iter == 2 else gradient)
        self.states.append({name: value.clone() for name, value in trainer.model.state_dict().items()})


@pytest.mark.parametrize("changes", [[], RETINA], ids=["faster_rcnn", "retinanet"])
def test_a_run_that_diverges_stops_and_its_step_runs_again(root, changes):
    rate = ["SOLVER.BASE_LR", 1e30, "SOLVER.WARMUP_ITERS", 0, *changes]
    cfg = tiny_config(root, root / "run", *rate, config="gcisg_r50_fpn")
    fault = r"(loss_\w+ is (nan|inf)|the model raised an error \(Pred).* at iteration 1"
    with pytest.raises(NonFiniteError, match=f"{fault}.*such steps instead: REGULARIZER.HOOK.ON_NONFINITE skip"):
        train(cfg)
    (file,) = (root / "run").glob("nonfinite_iter1_rank0.pth")
    record = load(file, VERSION)
    assert [name.rpartition("/")[2][-4:] for name in record["batch"]] == [".jpg"] * 2
    assert len(record["views"]) == 2
    assert record["error"] or not all(math.isfinite(value) for value in record["losses"].values())
    text = report(file)
    assert "view 1, stage 4" in text  # the view of the task in the authors' code
    assert "The step is the same" in text
    assert "queues.stage4" in text


@pytest.mark.parametrize("changes", [AMP, RETINA], ids=["bfloat16", "retinanet"])
def test_a_finite_loss_is_repeated_to_the_last_bit(root, changes):
    cfg = tiny_config(root, root / "run", *changes, config="gcisg_r50_fpn")
    with pytest.raises(NonFiniteError, match=r"the gradient of backbone.bottom_up.res4.0.conv1.weight is not finite"):
        train(cfg, hooks=[Poison()])
    file = root / "run/nonfinite_iter2_rank0.pth"
    assert all(math.isfinite(value) for value in load(file, VERSION)["losses"].values())
    assert "The step is the same" in report(file)


@pytest.mark.parametrize("place", ["REGULARIZER.HOOK.ON_NONFINITE", "REGULARIZER.ON_NONFINITE"])
def test_skip_goes_on_without_the_step(root, caplog, place):
    """The setting of the hook, or its earlier place among the method's."""
    cfg = tiny_config(root, root / "run", place, "skip", *CLIP, config="gcisg_r50_fpn")
    poison = Poison()
    with framework_log(caplog):
        train(cfg, hooks=[poison])
    unchanged = [all(torch.equal(a[name], b[name]) for name in a) for a, b in pairwise(poison.states)]
    assert unchanged == [False, False, True, False, False]
    assert "Step skipped: the gradient of backbone.bottom_up.res4.0.conv1.weight is not finite" in caplog.text
    assert '"skipped_steps": 1' in (root / "run/metrics.json").read_text()


@pytest.mark.parametrize(
    ("key", "message"),
    [
        ("HOOK.ON_NAN", "unknown key of REGULARIZER.HOOK 'ON_NAN'. Did you mean 'ON_NONFINITE'"),
        ("HOOK.ON_NONFINITE", "REGULARIZER.HOOK.ON_NONFINITE must be 'stop' or 'skip', got 'ignore'"),
        ("ON_NONFINITE", "REGULARIZER .*on_nonfinite must be 'stop' or 'skip', got 'ignore'"),
    ],
)
def test_a_wrong_key_or_value_is_refused_with_the_config(key, message):
    with pytest.raises(ValueError, match=message):
        read_config(PROJECT / "gcisg_r50_fpn.yaml", [f"REGULARIZER.{key}", "ignore"])


def test_a_config_file_sets_it(tmp_path):
    file = tmp_path / "own.yaml"
    base = f'_BASE_: "{PROJECT / "gcisg_r50_fpn.yaml"}"\n'
    file.write_text(base + "REGULARIZER: {HOOK: {ON_NONFINITE: skip}}\n")
    cfg = read_config(file)
    assert hook_values(cfg) == {"on_nonfinite": "skip"}
    assert "hook" not in regularizer_values(cfg)
    file.write_text(base + "OUTPUT_DIR: there\n")
    assert "HOOK" not in read_config(file).dump()  # the hash of a config without it stays


class Watch(HookBase):
    """The largest gradient that the method is told of after each backward pass."""

    def before_train(self):
        method = self.trainer.model.regularizer
        told, self.largest = method.after_backward, []

        def note(scale):
            gradients = [p.grad.abs().max() / scale for p in self.trainer.model.parameters() if p.grad is not None]
            self.largest.append(max(gradients).item())
            told(scale)

        method.after_backward = note


def test_the_method_reads_the_gradients_before_they_are_clipped(root):
    watch = Watch()
    clip = [*CLIP, "SOLVER.CLIP_GRADIENTS.CLIP_VALUE", 1e-4]
    train(tiny_config(root, root / "run", *clip, config="gcisg_r50_fpn"), hooks=[watch])
    assert len(watch.largest) > 1
    assert min(watch.largest) > 1e-3
