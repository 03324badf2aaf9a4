"""The miniature for detection: pretrained weights fit the detector, and its configs train."""

import pytest
import torch

pytest.importorskip("detectron2")
import gcisg_det  # noqa: F401  repairs Detectron2 0.5 before it is imported

# isort: split
from detectron2.modeling import build_model

from gcisg_det.checkpoint import SafeCheckpointer
from gcisg_det.config import read_config
from gcisg_det.mini import pretrain
from tests.detection.scenes import PROJECT
from tests.detection.test_meta_arch import batch, step


def glyphs(count):
    """Two classes that differ in brightness."""
    labels = torch.arange(count) % 2
    noise = torch.randint(0, 60, (count, 3, 32, 32), generator=torch.Generator().manual_seed(count))
    return (noise + 150 * labels[:, None, None, None]).to(torch.uint8), labels


@pytest.mark.parametrize("name", ["baseline_mini", "gcisg_mini"])
def test_pretraining_learns_and_its_weights_fit_the_configs(name, tmp_path):
    weights, accuracy = pretrain(glyphs(64), glyphs(32), iterations=15, batch=16, lr=0.02)
    assert accuracy > 0.9
    torch.save({"model": weights}, tmp_path / "weights.pth")
    model = build_model(read_config(PROJECT / f"{name}.yaml", ["MODEL.DEVICE", "cpu"])).train()
    SafeCheckpointer(model).load(str(tmp_path / "weights.pth"))
    own = model.backbone.bottom_up.state_dict()
    assert {f"backbone.bottom_up.{key}" for key in own} == set(weights)
    assert all(torch.equal(own[key.removeprefix("backbone.bottom_up.")], value) for key, value in weights.items())
    losses, _ = step(model, batch([(96, 128), (96, 128)]))
    assert ("loss_guidance_stage4" in losses) == (name == "gcisg_mini")
    assert all(value.isfinite() for value in losses.values())


def test_data_folder_of_the_miniature_follows_the_environment(monkeypatch):
    monkeypatch.setenv("GCISG_DATA", "/elsewhere")
    cfg = read_config(PROJECT / "gcisg_mini.yaml")
    assert cfg.DATASETS.ROOT == "/elsewhere/mini/scenes"
    assert cfg.MODEL.WEIGHTS.startswith("/elsewhere/mini/")
