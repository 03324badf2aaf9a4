"""Weights of a detector: read without running code, written whole, checked against the pixel statistics."""

import os
import pickle
from pathlib import Path

import numpy as np
import pytest
import torch

pytest.importorskip("detectron2")
import gcisg_det  # noqa: F401  repairs Detectron2 0.5 before it is imported

# isort: split

from gcisg_core.integrations.detectron2.checkpoints import SafeCheckpointer
from gcisg_core.integrations.detectron2.weights import STATISTICS, check_pixel_statistics, torchvision_to_detectron2
from gcisg_core.problems import DataError
from gcisg_core.safe_load import read_checkpoint
from gcisg_det.config import read_config
from gcisg_det.engine import Trainer
from tests.detection.scenes import (
    PROJECT,
    tiny_config,
)


class Payload:
    def __reduce__(self):
        return (os.system, ("touch stolen",))


class Layer(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.weight = torch.nn.Parameter(torch.zeros(2))


def test_pickles_of_arrays_are_read_and_all_others_refused(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    arrays = {"model": {"weight": np.arange(2.0), "n": np.float32(1), "b": b"\xff"}, "__author__": "x"}
    for protocol in (2, 3, 4, 5):
        Path("good.pkl").write_bytes(pickle.dumps(arrays, protocol))
        assert read_checkpoint("good.pkl")["model"]["weight"].tolist() == [0, 1]
    bomb = b"c_codecs\nencode\n(Vx\nVzip_codec\ntR."
    damaged = Path("good.pkl").read_bytes()[:50]
    for content, reason in [(pickle.dumps(Payload()), "system"), (bomb, "zip_codec"), (damaged, "truncated|end")]:
        Path("bad.pkl").write_bytes(content)
        with pytest.raises(DataError, match=rf"bad.pkl: (is refused|cannot be read).*({reason}|ran out)"):
            SafeCheckpointer(Layer()).load("bad.pkl")
    torch.save({"model": Payload()}, "bad.pth")
    with pytest.raises(DataError, match=r"bad.pth: is refused: it asks for .*system"):
        SafeCheckpointer(Layer()).load("bad.pth")
    assert not Path("stolen").exists()


def test_checkpoint_is_whole_or_absent(tmp_path, monkeypatch):
    model, checkpointer = Layer(), SafeCheckpointer(Layer(), str(tmp_path))
    checkpointer.model = model
    checkpointer.save("model_0000001")
    assert {file.name for file in tmp_path.iterdir()} == {"model_0000001.pth", "last_checkpoint"}
    content = (tmp_path / "model_0000001.pth").read_bytes()

    def fail(data, stream):
        stream.write(b"half")
        raise OSError("no space left")

    monkeypatch.setattr(torch, "save", fail)
    with pytest.raises(OSError, match=r"no space"):
        checkpointer.save("model_0000001")
    assert (tmp_path / "model_0000001.pth").read_bytes() == content
    assert (tmp_path / "last_checkpoint").read_text() == "model_0000001.pth"


@pytest.mark.remedy(
    "Bring the file to this machine and name it in MODEL.WEIGHTS",
    "Give weights of this detector or of its backbone",
    "detectron2/checkpoints.py: Give the config that it was trained with, or another checkpoint",
)
def test_missing_truncated_and_foreign_weights_are_named(tmp_path):
    checkpointer = SafeCheckpointer(Layer(), str(tmp_path))
    with pytest.raises(DataError, match=r"absent.pkl: the weights could not be loaded .*MODEL.WEIGHTS"):
        checkpointer.load(str(tmp_path / "absent.pkl"))
    checkpointer.load("")
    torch.save({"model": {"weight": torch.ones(2)}}, tmp_path / "brought.pth")
    checkpointer.load(str(tmp_path / "brought.pth"))
    assert checkpointer.model.weight.tolist() == [1, 1]
    torch.save({"model": {"other": torch.zeros(3)}}, tmp_path / "other.pth")
    with pytest.raises(
        DataError, match=r"none of its 1 entries fits .* Layer. Give weights of this detector or of its"
    ):
        checkpointer.load(str(tmp_path / "other.pth"))
    checkpointer.load(str(tmp_path / "brought.pth"))
    torch.save({"model": {"weight": torch.ones(2), "more": torch.ones(2)}}, tmp_path / "more.pth")
    checkpointer.strict = True
    with pytest.raises(DataError, match="more is not in the model .* Give the config that it was trained with, or"):
        checkpointer.load(str(tmp_path / "more.pth"))
    checkpointer.load(str(tmp_path / "brought.pth"))  # another checkpoint
    checkpointer.model.more = torch.nn.Parameter(torch.zeros(2))
    checkpointer.load(str(tmp_path / "more.pth"))  # the model that it was trained as
    assert checkpointer.model.more.tolist() == [1, 1]
    (tmp_path / "cut.pth").write_bytes((tmp_path / "other.pth").read_bytes()[:300])
    with pytest.raises(DataError, match=r"cut.pth: cannot be read as weights, it is damaged"):
        SafeCheckpointer(Layer()).load(str(tmp_path / "cut.pth"))


@pytest.mark.remedy("Give weights of this detector, or set MODEL.MIN_MATCH_RATIO; it is {}")
def test_a_detectors_file_without_most_of_its_backbone(root):
    cfg = tiny_config(root, root / "out")
    model = Trainer.build_model(cfg)
    state = model.state_dict()
    half = {name: value for name, value in state.items() if "res4" not in name and "res5" not in name}
    torch.save({"model": half}, root / "half.pth")
    torch.save({"model": state}, root / "whole.pth")
    with pytest.raises(
        DataError, match=r"half.pth: has .* tensors of backbone.* or set MODEL.MIN_MATCH_RATIO; it is 0"
    ):
        SafeCheckpointer(model, cfg=cfg).load(str(root / "half.pth"))
    SafeCheckpointer(model, cfg=cfg).load(str(root / "whole.pth"))
    cfg.MODEL.MIN_MATCH_RATIO = 0.1
    SafeCheckpointer(model, cfg=cfg).load(str(root / "half.pth"))


def with_statistics(kind):
    return [item for pair in STATISTICS[kind].items() for item in pair]


@pytest.mark.parametrize(("author", "kind"), [("Caffe2", "MSRA"), ("torchvision", "torchvision")])
def test_pixel_statistics_of_known_weights_are_checked(author, kind):
    right = read_config(PROJECT / "baseline_r101_fpn.yaml", with_statistics(kind))
    check_pixel_statistics(right, "weights/R-101.pkl", author)
    for key, value in with_statistics_pairs({"MSRA": "torchvision", "torchvision": "MSRA"}[kind]):
        wrong = read_config(PROJECT / "baseline_r101_fpn.yaml", [*with_statistics(kind), key, value])
        with pytest.raises(ValueError, match=rf"holds {kind} weights, but {key} is .*The config needs: INPUT.FORMAT"):
            check_pixel_statistics(wrong, "weights/R-101.pkl", author)


def with_statistics_pairs(kind):
    return list(STATISTICS[kind].items())


def test_torchvision_weights_give_torchvisions_features(root):
    import torchvision

    torch.manual_seed(0)
    network = torchvision.models.resnet50(weights=None).eval()
    for module in network.modules():
        if isinstance(module, torch.nn.BatchNorm2d):
            torch.nn.init.uniform_(module.weight, 0.5, 1)
            torch.nn.init.uniform_(module.running_mean, -0.1, 0.1)
    content = torchvision_to_detectron2({key: value.clone() for key, value in network.state_dict().items()})
    (root / "R-50.pkl").write_bytes(pickle.dumps(content))
    size = ["STEM_OUT_CHANNELS", 64, "RES2_OUT_CHANNELS", 256, "WIDTH_PER_GROUP", 64]
    size = [f"MODEL.RESNETS.{item}" if isinstance(item, str) else item for item in size]
    cfg = tiny_config(root, root / "out", *size, *with_statistics("torchvision"))
    model = Trainer.build_model(cfg).eval()
    SafeCheckpointer(model, cfg=cfg).load(str(root / "R-50.pkl"))
    image = torch.randint(0, 256, (3, 64, 96)).float()
    normalised = model.preprocess_image([{"image": image}]).tensor
    mean, std = torch.tensor([0.485, 0.456, 0.406]), torch.tensor([0.229, 0.224, 0.225])
    theirs = ((image / 255 - mean[:, None, None]) / std[:, None, None])[None]
    assert torch.allclose(normalised, theirs, atol=1e-5)
    with torch.no_grad():
        ours = model.backbone.bottom_up(normalised)["res5"]
        stages = (network.conv1, network.bn1, network.relu, network.maxpool)
        stages += (network.layer1, network.layer2, network.layer3, network.layer4)
        for stage in stages:
            theirs = stage(theirs)
    assert torch.allclose(ours, theirs, rtol=1e-3, atol=1e-4 * theirs.abs().max().item())


def test_shipped_configs_fit_the_weights_they_name():
    for name, depth in (("baseline_r101_fpn", 101), ("baseline_r50_fpn", 50)):
        cfg = read_config(PROJECT / f"{name}.yaml")
        check_pixel_statistics(cfg, cfg.MODEL.WEIGHTS, "Caffe2")
        assert cfg.MODEL.WEIGHTS.endswith(f"MSRA/R-{depth}.pkl")
        assert (depth, 30 * 10_000) == (cfg.MODEL.RESNETS.DEPTH, cfg.SOLVER.MAX_ITER * cfg.SOLVER.IMS_PER_BATCH)
