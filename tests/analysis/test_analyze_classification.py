"""From checkpoints of this suite and of plain torchvision to the page, under a config of this suite."""

import numpy as np
import pytest
import torch
import torchvision

from gcisg_cls.analysis import ClassificationTask
from gcisg_cls.classifier import SynToRealClassifier
from gcisg_core.integrations.mmengine import load_config
from gcisg_core.problems import DataError
from gcisg_suite.analysis.task import Options
from tests.analysis.pages import ROOT, analyze, below_failures, read
from tests.classification.conftest import CLASSES, write_images
from tests.test_own_data import noise

CONFIG = ROOT / "projects/classification/gcisg_mini.py"


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    """Images, a pretrained ResNet-18, a plain one with its own head, a checkpoint of this suite, and useless ones."""
    torch.manual_seed(0)
    folder = tmp_path_factory.mktemp("files")
    write_images(folder / "photos", per_class=5)
    write_images(folder / "imagenet", per_class=2, seed=1)
    pretrained = torchvision.models.resnet18(num_classes=3).state_dict()
    torch.save(pretrained, folder / "pretrained.pth")
    plain = torchvision.models.resnet18(num_classes=3).state_dict()
    torch.save({"state_dict": {f"module.{name}": value for name, value in plain.items()}}, folder / "plain.pth")
    ours = SynToRealClassifier("resnet18", 3, 8, regularizer={"method": "gcisg", "queue_length": 8})
    torch.save({"state_dict": ours.state_dict(), "meta": {"seed": 1}}, folder / "ours.pth")
    deeper = {"layer1.2.conv1.weight": plain["layer1.1.conv1.weight"]}
    torch.save(plain | deeper, folder / "wrong.pth")
    torch.save(plain | {"fc.weight": torch.zeros(7, 512), "fc.bias": torch.zeros(7)}, folder / "many.pth")
    headless = {name: value for name, value in plain.items() if not name.startswith("fc.")}
    torch.save(headless, folder / "headless.pth")
    torch.save({"state_dict": plain, "code": Evil()}, folder / "evil.pth")
    (folder / "text.pth").write_text("no checkpoint")
    return folder


def arguments(files, out, *more):
    classes = f"test_dataloader.dataset.classes=[{','.join(CLASSES)}]"
    return ["--config", CONFIG, "--data", files / "photos", "--out", out, "--device", "cpu", *more,
            "--", "model.backbone=resnet18", f"model.weights={files / 'pretrained.pth'}", classes]  # fmt: skip


@pytest.mark.remedy("needs validation images of the pretraining task: --imagenet")
def test_a_plain_resnet_and_ours_side_by_side(files, tmp_path, monkeypatch):
    given = ["--checkpoint", f"plain={files / 'plain.pth'}", files / "ours.pth", "--imagenet", files / "imagenet"]
    given += ["--energy", "textbook"]
    sure = below_failures(monkeypatch)
    analyze(*arguments(files, tmp_path / "page", *given))
    content, page = read(tmp_path / "page")
    plain, ours = content["checkpoints"]
    assert [plain["name"], ours["name"]] == ["plain", f"{files.name}/ours"]

    network = torchvision.models.resnet18(num_classes=3).eval()
    state = torch.load(files / "plain.pth", weights_only=True)["state_dict"]
    network.load_state_dict({name.removeprefix("module."): value for name, value in state.items()})
    task_images = images_of(files / "photos")
    with torch.no_grad():
        hits = (network(task_images[0]).argmax(1) == task_images[1]).float()
    assert plain["metrics"]["overall"] == pytest.approx(100 * hits.mean().item())
    assert sum(map(sum, plain["confusion"]["counts"])) == 15
    assert plain["confusion"]["axes"] == list(CLASSES)
    assert 0 <= plain["metrics"]["acc_in"] <= 100
    reference = content["reference"]["metrics"]
    assert (reference["cka_stage3"], reference["accuracy"]) == (1, "the pretrained network has no head for this task")
    none = (
        "No accuracy, mean over classes; accuracy, mean over images; match rate (reference): the pretrained network has"
    )
    assert none in (tmp_path / "page/analysis.html").read_text()

    assert content["energy_form"] == "textbook"
    assert reference["energy_0"] == pytest.approx(energy_of(files / "pretrained.pth", task_images[0]), rel=1e-4)

    (difference,) = content["differences"]
    assert difference["to"] == "plain"
    assert difference["metrics"]["cka"] == pytest.approx(ours["metrics"]["cka"] - plain["metrics"]["cka"])
    assert difference["paired_over_images"]["score"]["pairs"] == 15
    assert page.titles[:3] == ["Metrics", "Differences on the same images", "Classes"]
    assert f"{plain['metrics']['accuracy']:.2f}" in page.cells
    gain = ours["metrics"]["accuracy"] - plain["metrics"]["accuracy"]
    verdict = f"{ours['name']} {gain:+.1f} points of accuracy {'over' if gain >= 0 else 'against'} plain ("
    assert verdict in (tmp_path / "page/analysis.html").read_text().partition("<section>")[0]
    with torch.no_grad():
        shares = network(task_images[0]).softmax(1).amax(1)
        wrong = network(task_images[0]).argmax(1) != task_images[1]
    expected = (shares * wrong).sort(descending=True, stable=True)
    worst = [f"confidence {100 * shares[index]:.0f} %" for index in expected.indices[:6]]
    assert sure[:6] == worst
    assert len(sure) == 12
    assert len(page.pictures) == 6  # Grad-CAM, attention, density, confusion, two models' failures


def energy_of(weights, images):
    network = torchvision.models.resnet18(num_classes=3).eval()
    network.load_state_dict(torch.load(weights, weights_only=True))
    network.fc = torch.nn.Identity()
    with torch.no_grad():
        unit = torch.nn.functional.normalize(network(images).double())
    return (-torch.pdist(unit).log()).mean().item()


def images_of(folder):
    from gcisg_cls.datasets import ClassFolderDataset
    from gcisg_cls.views import normalize

    data = ClassFolderDataset(str(folder), {"type": "EvalView", "size": 64}, CLASSES)
    labels = torch.tensor([label for _, label in data.samples])
    return normalize(torch.stack([data[index]["inputs"] for index in range(len(data))])), labels


@pytest.mark.parametrize(
    ("given", "message"),
    [
        (["--checkpoint", "wrong.pth"], r"layer1.2.conv1.weight is not in the model.*Give the config"),
        (["--checkpoint", "headless.pth"], r"headless.pth: has no classifier.*is the --reference"),
        (["--checkpoint", "many.pth"], r"many.pth: knows 7 classes, \S+photos has 3"),
        (["--checkpoint", "evil.pth"], r"evil.pth: is refused: it asks for"),
        (["--checkpoint", "text.pth"], r"text.pth: cannot be read as weights"),
        (["--checkpoint", "plain.pth", "--reference", "headless.pth", "--imagenet", "photos/bird"], "no image found"),
    ],
)
def test_what_cannot_be_used_is_named(files, tmp_path, monkeypatch, given, message):
    monkeypatch.chdir(files)
    with pytest.raises(SystemExit, match=f"(?s)error: .*{message}"):
        analyze(*arguments(files, tmp_path / "page", *given))
    assert not (files / "ran").exists()


@pytest.mark.remedy(
    "the config starts from no pretrained weights; give some as --reference",
    "the pretrained network could not be loaded ({}); give its weights as --reference",
    "Give a trained classifier; a pretrained network is the --reference",
    "Give images of its classes as --data and their names as test_dataloader.dataset.classes",
)
def test_what_is_lacking_is_given(files):
    def task(weights="None", reference=None, data="photos", classes=CLASSES):
        names = f"test_dataloader.dataset.classes=[{','.join(classes)}]"
        config = load_config(str(CONFIG), ["model.backbone=resnet18", f"model.weights={weights}", names])
        return ClassificationTask(config, Options(reference and str(files / reference), str(files / data)))

    assert task().no_reference == "the config starts from no pretrained weights; give some as --reference"
    assert task("absent.pth").no_reference.endswith("give its weights as --reference")
    given = task(reference="headless.pth")
    assert given.reference is not None
    with pytest.raises(DataError, match="Give a trained classifier; a pretrained network is the --reference"):
        given.load(str(files / "headless.pth"))
    given.load(str(files / "plain.pth"))
    with pytest.raises(DataError, match="Give images of its classes as --data and their names as test_dataloader"):
        given.load(str(files / "many.pth"))
    seven = [f"class{number}" for number in range(7)]
    for number, name in enumerate(seven):
        noise(files / "seven" / name / "0.png", np.random.default_rng(number))
    task(data="seven", classes=seven).load(str(files / "many.pth"))


class Evil:
    """Would make a folder where it is read with pickle."""

    def __reduce__(self):
        import os

        return os.mkdir, ("ran",)
