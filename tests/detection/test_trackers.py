"""`gcisg train --tracker` on Detectron2: what MLflow is told, in its own files."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

pytest.importorskip("detectron2")

from tests.command import gcisg
from tests.detection.scenes import PROJECT, TINY, make_sim10k


def test_mlflow_gets_what_metrics_json_has(tmp_path, monkeypatch):
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    monkeypatch.chdir(tmp_path)
    make_sim10k(tmp_path / "my data")
    small = [*TINY, "REGULARIZER.QUEUE_LENGTH", 32, "DATASETS.ROOT", "my data", "DATASETS.TEST", "()"]
    small += ["SOLVER.MAX_ITER", 2, "SOLVER.STEPS", "()"]
    config = PROJECT / "gcisg_r50_fpn.yaml"
    trackers = ["--tracker", "mlflow", "--tracker", "tensorboard"]
    ended = gcisg("train", "--config", config, "--output", "my run", *trackers, *small)
    assert ended.code == 0, ended.err
    last = [json.loads(line) for line in Path("my run/metrics.json").read_text().splitlines()][-1]
    term = next(name for name in last if name.startswith("loss_guidance_stage"))
    (written,) = Path("my run").glob(f"mlruns/*/*/metrics/{term}")
    lines = [line.split() for line in written.read_text().splitlines()]
    assert [int(step) for *_, step in lines] == [0, 1]  # a short run logs each step
    assert float(lines[-1][1]) == last[term]
    assert (written.parents[1] / "params" / "REGULARIZER.METHOD").read_text() == "gcisg"
    assert list(Path("my run").glob("events.out.tfevents*"))
