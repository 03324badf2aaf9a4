"""`gcisg train --tracker`: what trackers are told, in their own files; and what is said where one cannot be used."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import mmengine
import pytest
from mmengine.registry import VISBACKENDS
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from gcisg_core.trackers import TRACKERS
from tests.classification.conftest import TINY
from tests.command import gcisg

ROOT = Path(__file__).parents[2]
CONFIG = ROOT / "projects/classification/gcisg_mini.py"


def test_tensorboard_and_mlflow_get_each_loss_with_its_step(mini, monkeypatch):
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    trackers = ["--tracker", "tensorboard", "--tracker", "mlflow"]
    ended = gcisg("train", "--config", CONFIG, "--output", "my run", *trackers, *TINY)
    assert ended.code == 0, ended.err
    (events,) = Path("my run").glob("*/vis_data/events*")
    told = EventAccumulator(str(events)).Reload()
    assert [point.step for point in told.Scalars("loss_guidance_stage4")] == [1, 2, 3, 4, 5, 6]
    (written,) = Path("my run").glob("mlruns/*/*/metrics/loss_guidance_stage4")
    of_tensorboard = [point.value for point in told.Scalars("loss_guidance_stage4")]
    lines = [line.split() for line in written.read_text().splitlines()]
    assert [float(value) for _, value, _ in lines] == pytest.approx(of_tensorboard)
    assert [int(step) for _, _, step in lines] == [1, 2, 3, 4, 5, 6]
    assert (written.parents[1] / "params" / "model.regularizer.method").read_text() == "gcisg"
    assert (written.parents[1] / "tags" / "mlflow.runName").read_text() == "my run"
    assert list(Path("my run").glob("*/vis_data/scalars.json"))  # mmengine's own files stay
    # A tracker is not a setting of the run, which continues without one.
    again = gcisg("train", "--config", CONFIG, "--output", "my run", "--resume", *TINY)
    assert again.code == 0, again.err
    assert "visualizer" not in again.err


def test_every_tracker_is_a_backend_of_mmengine():
    assert mmengine.visualization
    assert all(VISBACKENDS.get(tracker.backend) for tracker in TRACKERS.values())


@pytest.mark.parametrize("config", [CONFIG, ROOT / "projects/detection/gcisg_mini.yaml"])
def test_what_cannot_be_used_is_said_before_anything_is_started(config, mini, monkeypatch):
    found = importlib.util.find_spec
    monkeypatch.setattr(
        importlib.util, "find_spec", lambda name, *rest: None if name == "wandb" else found(name, *rest)
    )
    line = "error: --tracker wandb: wandb is not installed. Install it: python -m pip install wandb\n"
    ended = gcisg("train", "--config", config, "--output", "run", "--tracker", "wandb")
    assert (ended.code, ended.err) == (1, line)
    ended = gcisg("train", "--config", config, "--output", "run", "--tracker", "mflow")
    assert ended.err.startswith("error: unknown --tracker 'mflow'. Did you mean 'mlflow'? Valid: ")
    ended = gcisg("train", "--config", config, "--eval-only", "--checkpoint", CONFIG, "--tracker", "mlflow")
    assert "--tracker is for training" in ended.err
    assert not Path("run").exists()


def test_what_only_mmengine_knows_is_refused_for_detectron2(mini):
    ended = gcisg("train", "--config", ROOT / "projects/detection/gcisg_mini.yaml", "--tracker", "aim")
    assert ended.err == "error: unknown --tracker 'aim'. Did you mean 'wandb'? Valid: mlflow, tensorboard, wandb\n"
