"""A training process that is really killed, and resumes; bad samples; weights that cannot be downloaded."""

from __future__ import annotations

import signal
from pathlib import Path
from urllib.error import URLError

import pytest
import torch
from mmengine.runner.checkpoint import CheckpointLoader

from gcisg_core.export import file_hash
from gcisg_core.integrations.mmengine import checkpoints
from gcisg_core.problems import DataError
from gcisg_core.run_folder import run_name
from gcisg_suite.cli import main
from tests.official import as_numpy_1
from tests.processes import status_of_command

load_checkpoint = CheckpointLoader.load_checkpoint
ROOT = Path(__file__).parents[2]
PROJECT = ROOT / "projects" / "segmentation"

CONFIG = """
_base_ = "{base}"
custom_imports = dict(imports=["gcisg_seg.registry", "tests.kill_hook"])
custom_hooks = [dict(type="RegularizerHook"), dict(type="KillHook")]
crop = (32, 32)
model = dict(
    data_preprocessor=dict(size=crop),
    backbone=dict(depth=18, stem_channels=8, base_channels=8, init_cfg=None),
    decode_head=dict(in_channels=64, channels=8),
    auxiliary_head=dict(in_channels=32, channels=8),
    regularizer=dict(patches=(2, 2), queue_length=100, embedding_dim=8),
)
pipeline = [
    dict(type="LoadCheckedImage"),
    dict(type="LoadLabelIds"),
    dict(type="RandomResize", scale=(96, 64), ratio_range=(0.5, 2.0), keep_ratio=True),
    dict(type="RandomCrop", crop_size=crop, cat_max_ratio=0.75),
    dict(type="RandomFlip", prob=0.5),
    dict(type="PackSegInputs"),
]
train_dataloader = dict(
    batch_size=2,
    num_workers=0,
    persistent_workers=False,
    dataset=dict(dataset=dict(pipeline=pipeline, on_bad_sample="skip")),
)
val_dataloader, val_cfg, val_evaluator = None, None, None
test_dataloader, test_cfg, test_evaluator = None, None, None
train_cfg = dict(max_iters=6, val_interval=100)
default_hooks = dict(checkpoint=dict(interval=2, max_keep_ckpts=5), logger=dict(interval=1))
"""


@pytest.fixture
def config(gtav, tmp_path, monkeypatch) -> Path:
    """A tiny config on a GTAV of four pairs, one of them bad."""
    (gtav / "images" / "00003.png").write_text("no image")
    monkeypatch.setenv("GCISG_DATA", str(tmp_path / "data"))
    path = tmp_path / "tiny.py"
    path.write_text(CONFIG.format(base=PROJECT / "gcisg_r50_deeplabv3_gtav2cityscapes.py"))
    return path


def train_here(*args: str | Path) -> None:
    """The command in this process, which has the frameworks loaded already."""
    main(["train", *map(str, args)])


def differences(ours, theirs, path: str = "") -> list[str]:
    """Where two nested checkpoints differ."""
    if isinstance(ours, dict):
        keys = sorted({*ours, *theirs}, key=str)
        return [d for k in keys for d in differences(ours.get(k), theirs.get(k), f"{path}.{k}")]
    if isinstance(ours, list):
        return [d for i, (a, b) in enumerate(zip(ours, theirs, strict=True)) for d in differences(a, b, f"{path}.{i}")]
    same = torch.equal(ours, theirs) if isinstance(ours, torch.Tensor) else ours == theirs
    return [] if same else [path]


@pytest.mark.remedy("--resume continues from the last checkpoint")
def test_killed_and_resumed_equals_uninterrupted(config, tmp_path):
    """With a bad sample skipped on the way, another number of data-loading workers after it, and another numpy."""
    whole, killed = tmp_path / "whole", tmp_path / "killed"
    assert status_of_command("train", "--config", config, "--work-dir", killed, KILL_AT="4") == -signal.SIGKILL
    assert not (killed / "iter_6.pth").exists()
    as_numpy_1(killed / "iter_4.pth")
    train_here("--config", config, "--work-dir", killed, "--resume", "train_dataloader.num_workers=1")
    train_here("--config", config, "--work-dir", whole)
    with pytest.raises(SystemExit, match=r"whole holds a run \(seed 0.*iter_6.pth. --resume continues it"):
        train_here("--config", config, "--work-dir", whole, "--seed", "1")
    assert any("Skipped: " in log.read_text() for log in whole.rglob("*.log"))
    ours, theirs = (load_checkpoint(str(folder / "iter_6.pth")) for folder in (killed, whole))
    assert [run["meta"]["run"] for run in (ours, theirs)] == [run_name(folder) for folder in (killed, whole)]
    for part in ("state_dict", "optimizer", "param_schedulers"):
        assert differences(ours[part], theirs[part]) == []
    losses = [state["message_hub"]["log_scalars"]["train/loss"].data[0].tolist() for state in (ours, theirs)]
    assert len(losses[0]) == 6
    assert losses[0] == losses[1]
    state = ours["state_dict"]
    assert state["regularizer.captured"]
    assert state["regularizer.queues.stage4.pointer"] == 6 * 2 * 2 * 4 % 100
    start = load_checkpoint(str(killed / "iter_2.pth"))["state_dict"]
    name = "regularizer.momentum_encoder.average.module.conv1.weight"
    assert not torch.equal(start[name], state[name])
    assert torch.equal(
        start["regularizer.reference.encoder.conv1.weight"], state["regularizer.reference.encoder.conv1.weight"]
    )


def test_weights_that_cannot_be_downloaded_are_said_in_one_line(monkeypatch, tmp_path):
    def offline(*args, **kwargs):
        raise URLError("no route to host")

    monkeypatch.setattr(torch.hub, "download_url_to_file", offline)
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    message = rf"resnet50 could not be downloaded .*Put https://.*/resnet50-\w+\.pth into {tmp_path}/hub/checkpoints"
    with pytest.raises(FileNotFoundError, match=message):
        load_checkpoint("torchvision://resnet50")
    with pytest.raises(ValueError, match="Did you mean 'resnet50'"):
        load_checkpoint("torchvision://resnet5O")


def test_a_cached_file_is_used_without_the_net_if_it_is_whole(monkeypatch, tmp_path):
    folder = tmp_path / "hub" / "checkpoints"
    folder.mkdir(parents=True)
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    torch.save({"weight": torch.ones(2)}, folder / "new.pth")
    file = (folder / "new.pth").rename(folder / f"resnet50-{file_hash(folder / 'new.pth')}.pth")
    monkeypatch.setitem(checkpoints.SOURCES, "torchvision://", lambda: {"resnet50": f"https://models/{file.name}"})
    assert torch.equal(load_checkpoint("torchvision://resnet50")["weight"], torch.ones(2))
    file.write_bytes(file.read_bytes()[:-9])
    with pytest.raises(DataError, match="altered or incomplete"):
        load_checkpoint("torchvision://resnet50")
