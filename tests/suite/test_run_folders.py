"""What lies in the folder of a run is data: no command imports a module that it names, unless it is trusted."""

import json
from pathlib import Path

import pytest
import torch

from tests.command import gcisg

CONFIG = """\
custom_imports = dict(imports=['gcisg_cls', 'foreign_parts'])
default_scope = 'mmengine'
model = dict(type='SynToRealClassifier', backbone='resnet18', num_classes=3)
val_dataloader = dict(dataset=dict(type='ClassFolderDataset', root='my/real'))
"""
RECORD = {
    "version": 1, "framework": "mmengine", "message": "loss is nan", "losses": {}, "batch": [],
    "config": {"model": {"type": "SynToRealClassifier"}, "custom_imports": {"imports": ["gcisg_cls", "foreign_parts"]}},
}  # fmt: skip


@pytest.fixture
def run(tmp_path, monkeypatch):
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "elsewhere/foreign_parts.py").write_text("raise ImportError('it was imported')\n")
    monkeypatch.syspath_prepend(tmp_path / "elsewhere")
    monkeypatch.chdir(tmp_path)
    folder = Path("a run")
    (folder / "20260101_000000/vis_data").mkdir(parents=True)
    (folder / "20260101_000000/vis_data/scalars.json").write_text(
        json.dumps({"loss": 1.0, "step": 1, "time": 0.1}) + "\n"
    )
    (folder / "mine.py").write_text(CONFIG)
    torch.save({"state_dict": {"w": torch.ones(2)}}, folder / "iter_1.pth")
    torch.save(RECORD, folder / "nonfinite_iter1_rank0.pth")
    return folder


COMMANDS = {
    "select": lambda run: ("select", run),
    "report": lambda run: ("report", run),
    "replay": lambda run: ("replay", run / "nonfinite_iter1_rank0.pth"),
}


@pytest.mark.remedy("Add --trust if this is your own")
@pytest.mark.parametrize("name", COMMANDS)
def test_a_foreign_module_is_named_and_not_imported(name, run):
    def said(*words):
        ended = gcisg(*COMMANDS[name](run), *words)
        assert ended.code == (name != "report"), ended
        assert "Traceback" not in ended.err
        return Path("report.html").read_text() if name == "report" else ended.err

    refused = said()
    assert "imports the module" in refused
    assert "foreign_parts" in refused
    assert "Add --trust if this is your own" in refused
    assert "it was imported" not in refused
    assert "it was imported" in said("--trust")
