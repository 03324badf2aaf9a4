"""The checkpoints of a classification run are ranked while it trains, and again by the command, also without labels."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from mmengine.config import Config

from gcisg_core.integrations.mmengine import build_runner
from gcisg_suite.analysis.task import Options
from gcisg_suite.cli import main
from gcisg_suite.selection.run_checkpoints import evaluate_run, make_tasks

from .conftest import TINY, write_images

ROOT = Path(__file__).parents[2]


@pytest.fixture
def run(mini, monkeypatch):
    """A run with three checkpoints."""
    settings = [*TINY, "model.regularizer.queue_length=30", "default_hooks.checkpoint.max_keep_ckpts=3"]
    settings += ["selection.every_checkpoint=True", f"selection.source={write_images(mini / 'held_out', seed=9)}"]
    runner = build_runner(ROOT / "projects/classification/gcisg_mini.py", settings, mini / "run")
    runner.train()
    (mini / "run/gcisg_mini.py").unlink()
    runner.cfg.dump(str(mini / "run/config.json"))
    return mini / "run"


@pytest.mark.remedy(
    "Name it with --config", "Restore the file that training wrote, or name the config that you trained with"
)
def test_every_checkpoint_was_ranked_and_labels_are_asked_for(run, mini):
    lines = [json.loads(text) for text in (run / "selection.jsonl").read_text().splitlines()]
    assert [line["checkpoint"] for line in lines] == [f"iter_{number}.pth" for number in (2, 4, 6)]
    assert all(0 <= line["source"] <= 100 and 0 < line["cka"] <= 1 and "target" not in line for line in lines)
    (log,) = run.glob("*/*.log")
    assert "Chosen by mean_rank, without target labels: iter_" in log.read_text()

    for name, said in (("", r"0 configs .* Name it with --config"), ("code.py", "gcisg select --config FILE")):
        if name:
            (run / name).write_text("import os\n")
        with pytest.raises(SystemExit, match=said):
            main(["select", str(run)])
    command = [sys.executable, str(ROOT / "tools/select_checkpoint.py"), str(run), "--config", str(run / "config.json")]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
    done = subprocess.run([*command, "--by", "target"], env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "Chosen with target labels (accuracy), as the authors' code does" in done.stdout
    assert "target (the best)" in done.stdout


def test_images_without_labels_give_the_same_as_with_them(run, mini):
    """The same files in one flat folder, in the order of the labelled ones."""
    flat, dev = mini / "flat", mini / "data/mini/classification/dev"
    flat.mkdir()
    for position, line in enumerate((dev / "image_list.txt").read_text().splitlines()):
        shutil.copy(dev / line.split()[0], flat / f"{position:03d}.png")
    config = Config.fromfile(str(run / "config.json"))
    target, _ = make_tasks(config, Options(data=str(flat)))
    labelled = [json.loads(text) for text in (run / "selection.jsonl").read_text().splitlines()]
    for line, expected in zip(evaluate_run(run, target), labelled, strict=True):
        assert {name: line[name] for name in ("match_rate", "cka", "energy")} == {
            name: expected[name] for name in ("match_rate", "cka", "energy")
        }
