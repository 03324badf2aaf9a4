"""The checkpoints of a segmentation run are ranked on the target without labels and on held-out source scenes."""

from __future__ import annotations

import pytest
import torch

from gcisg_suite.analysis.task import Options
from gcisg_suite.miniature import scenes
from gcisg_suite.miniature.network import MiniResNet
from gcisg_suite.selection.criteria import read_lines, report
from gcisg_suite.selection.run_checkpoints import evaluate_run, make_tasks

from .test_seg_methods import train

SELECTION = {"every_checkpoint": True, "by": "match_rate"}


@pytest.fixture
def data(tmp_path):
    """Two scenes on either side: with one, features have no spread."""
    scenes.prepare(tmp_path / "mini" / "scenes", train_scenes=4, eval_scenes=2, progress=False)
    torch.save(MiniResNet(num_classes=81, seed=1).state_dict(), tmp_path / "mini" / "reference.pth")
    return tmp_path


def test_every_checkpoint_is_ranked(data, tmp_path, monkeypatch):
    source = str(data / "mini/scenes/gtav")
    changes = {f"selection.{key}": value for key, value in {**SELECTION, "source": source}.items()}
    changes["default_hooks.checkpoint.interval"] = 2
    runner = train(data, tmp_path, monkeypatch, {"method": "none"}, **changes)
    lines = read_lines(tmp_path / "run")
    assert [line["checkpoint"] for line in lines] == ["iter_2.pth", "iter_4.pth"]
    assert all(0 <= line["source"] <= 100 and 0 < line["cka"] <= 1 + 1e-9 for line in lines)
    (log,) = (tmp_path / "run").glob("*/*.log")
    assert "Chosen by match_rate, without target labels: iter_" in log.read_text()

    tasks = make_tasks(runner.cfg, Options(), source)
    labelled = evaluate_run(tmp_path / "run", *tasks, labels=True)
    assert [{k: v for k, v in line.items() if k != "target"} for line in labelled] == lines
    again = tasks[0].evaluate(tasks[0].load(str(tmp_path / "run/iter_2.pth")))
    assert labelled[0]["target"] == again.values["mIoU"]
    assert "target mIoU" in report(labelled)
