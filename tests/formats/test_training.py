"""From a simulator's folder, and real images without labels, to trained models: every command that is printed runs."""

import json
import shlex
from pathlib import Path

import numpy as np
import pytest
import torch
import torchvision

from gcisg_core.shell import gcisg_command
from tests.documents import run
from tests.formats import folders
from tests.formats.commands import new_project
from tests.test_own_data import SMALL, make_classification

MAKERS = {"segmentation": folders.replicator, "detection": folders.yolo}

# What an evaluation says in place of a score.
SAID = {
    "classification": "The images have no labels: there is no accuracy on them.",
    "segmentation": "real has no labels, so it has no mIoU.",
    "detection": "real (own boxes): no AP: the test data have no box",
}


def small(task):
    """Of 64 x 96 pixels."""
    crop = "train_dataloader.dataset.dataset.pipeline.3.crop_size=(64,64)"
    return [*SMALL[task], *([crop] if task == "segmentation" else [])]


@pytest.mark.remedy("has no labels, so there is no score on it. Prediction")
@pytest.mark.parametrize("task", ["classification", "segmentation", "detection"])
def test_real_images_without_labels(task, here, capsys):
    torch.save(torchvision.models.resnet18().state_dict(), "weights.pth")
    if task == "classification":
        make_classification(Path("syn"), np.random.default_rng(0))
    else:
        MAKERS[task](Path("syn"))
    for number in range(3):
        folders.photo(Path(f"real/{number}.jpg"), number)
    assert new_project(task) == 0
    output = capsys.readouterr().out
    assert "real: real has no labels, so there is no score on it" in output
    start = f"{gcisg_command()} "
    commands = [f"gcisg {line.removeprefix(start)}" for line in output.splitlines() if line.startswith(start)]
    if task != "detection":  # the whole of it once is enough
        commands = [commands[1], "gcisg report out/runs/gcisg"]
    for line in commands:
        extra = small(task) if shlex.split(line)[1] == "train" else []
        assert run(line, *extra) == 0, line
    assert SAID[task] in capsys.readouterr().out
    checkpoint = next(Path("out/runs/gcisg").glob("*.pth"))
    config = f"out/gcisg.{'yaml' if task == 'detection' else 'py'}"
    predict = f"gcisg predict --config {config} --checkpoint {checkpoint} --output out/found real/0.jpg"
    assert run(predict, *small(task)) == 0
    capsys.readouterr()
    assert run("gcisg select out/runs/gcisg --target-labels") == 0
    table = capsys.readouterr().out
    assert "match_rate" in table
    assert "energy" in table
    (line,) = map(json.loads, Path("out/runs/gcisg/selection.jsonl").read_text().splitlines())
    assert line["target"] == {"detection": "no box of this kind in the truth"}.get(task, "the images have no labels")
    assert line["energy"] > 0
    assert run("gcisg select out/runs/gcisg --by target") == 1
    assert f"cannot choose by 'target': {line['target']}" in capsys.readouterr().err
