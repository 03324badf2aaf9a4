"""What messages about networks and their weights tell people to do, done."""

from pathlib import Path
from types import SimpleNamespace

import pytest
import timm
import torch
import torchvision

from gcisg_cls import torchvision_networks
from gcisg_cls.backbones import build_backbone
from gcisg_core.export import file_hash
from gcisg_core.integrations import timm as timm_networks
from gcisg_core.integrations.mmengine import checkpoints
from gcisg_core.problems import DataError

# What the message says to do, a network that provokes it, and another.
NETWORKS = [
    ("choose timm:mnasnet_100 or another", "torchvision:mnasnet1_0", "timm:mnasnet_100"),
    ("ends in a convolution, not in a linear classifier; choose another", "torchvision:squeezenet1_1",
        "torchvision:mobilenet_v3_small"),
    ("backbone timm:{} has {}; choose another", "timm:deit_tiny_distilled_patch16_224", "timm:test_vit"),
]  # fmt: skip


@pytest.mark.remedy(*NETWORKS)
@pytest.mark.parametrize(("words", "wrong", "right"), NETWORKS)
def test_networks_that_cannot_be_classifiers(words, wrong, right):
    with pytest.raises(ValueError, match=words.rpartition("}")[2]):
        build_backbone(wrong)
    assert build_backbone(right)


def offline(*_, **__):
    raise OSError("no network")


@pytest.mark.remedy(
    "Give a state dict file, one of these tags or DEFAULT",
    "Download them on a machine with network access, into the hub's cache or a file, and give the file as {}",
)
def test_weights_of_timm(tmp_path, monkeypatch):
    own = timm.create_model("test_resnet")
    torch.save(own.state_dict(), tmp_path / "own.pth")
    with pytest.raises(FileNotFoundError, match="Give a state dict file, one of these tags or DEFAULT"):
        timm_networks.read_weights("test_resnet", "none.pth")
    monkeypatch.setattr(timm.models._builder, "load_state_dict_from_hf", offline)
    monkeypatch.setattr(timm.models._builder, "load_state_dict_from_url", offline)
    with pytest.raises(FileNotFoundError, match="could not be loaded .*no network.* and give the file as weights"):
        timm_networks.read_weights("test_resnet", "DEFAULT")
    read = timm_networks.read_weights("test_resnet", str(tmp_path / "own.pth"))
    assert torch.equal(read["conv1.0.weight"], own.state_dict()["conv1.0.weight"])


@pytest.mark.remedy(
    "and torchvision has no weights of that name (it has: {}). Give a state dict file or one of these names",
    "weights {} for {} could not be downloaded ({}). Put {} into {}, or give its path as model.weights",
)
def test_weights_of_torchvision(tmp_path, monkeypatch):
    torch.save(torchvision.models.resnet18().state_dict(), tmp_path / "r18.pth")
    name = f"r18-{file_hash(tmp_path / 'r18.pth')}.pth"
    known = {"OWN": SimpleNamespace(url=f"https://models/{name}", get_state_dict=offline)}
    monkeypatch.setattr(torchvision.models, "get_model_weights", lambda _: SimpleNamespace(__members__=known))
    monkeypatch.setenv("TORCH_HOME", str(tmp_path / "cache"))
    with pytest.raises(FileNotFoundError, match=r"it has: OWN.* Give a state dict file or one of these names"):
        torchvision_networks.read_weights("resnet18", "none.pth")
    with pytest.raises(
        FileNotFoundError, match=f"Put https://models/{name} into .*, or give its path as model"
    ) as said:
        torchvision_networks.read_weights("resnet18", "OWN")
    assert "conv1.weight" in torchvision_networks.read_weights("resnet18", str(tmp_path / "r18.pth"))
    folder = str(said.value).partition(" into ")[2].partition(", or give")[0]
    put(tmp_path / "r18.pth", folder, name)
    assert "conv1.weight" in torchvision_networks.read_weights("resnet18", "OWN")


def put(file, folder, name):
    Path(folder).mkdir(parents=True, exist_ok=True)
    (Path(folder) / name).write_bytes(file.read_bytes())


@pytest.mark.remedy("{} could not be downloaded ({}). Put {} into {}, or give the path of a file instead of {}")
def test_weights_of_mmengine(tmp_path, monkeypatch):
    torch.save({"w": torch.ones(2)}, tmp_path / "own.pth")
    name = f"own-{file_hash(tmp_path / 'own.pth')}.pth"
    monkeypatch.setattr(torch.hub, "download_url_to_file", offline)
    monkeypatch.setenv("TORCH_HOME", str(tmp_path / "cache"))
    monkeypatch.setitem(checkpoints.SOURCES, "torchvision://", lambda: {"own": f"https://models/{name}"})
    with pytest.raises(FileNotFoundError, match="or give the path of a file instead of torchvision://own") as said:
        checkpoints.load_from_net("torchvision://own")
    put(tmp_path / "own.pth", str(said.value).partition(" into ")[2].partition(", or give")[0], name)
    assert checkpoints.load_from_net("torchvision://own")["w"].tolist() == [1, 1]
    assert checkpoints.read_checkpoint(tmp_path / "own.pth")["w"].tolist() == [1, 1]


@pytest.mark.remedy("Give weights of this model, from timm or its authors")
def test_weights_of_another_model_of_timm(tmp_path):
    own, other = timm.create_model("test_vit"), timm.create_model("test_vit", embed_dim=96)
    torch.save(other.state_dict(), tmp_path / "other.pth")
    torch.save(own.state_dict(), tmp_path / "own.pth")
    with pytest.raises(DataError, match="Give weights of this model, from timm or its authors"):
        timm_networks.read_weights("test_vit", str(tmp_path / "other.pth"))
    assert timm_networks.read_weights("test_vit", str(tmp_path / "own.pth"))
