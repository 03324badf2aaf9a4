"""Backbones, metric, measures and the classifier's modes."""

import numpy as np
import pytest
import torch
import torchvision
from mmengine.logging import MMLogger
from sklearn.metrics import accuracy_score, balanced_accuracy_score

from gcisg_cls.backbones import build_backbone, load_pretrained
from gcisg_cls.classifier import SynToRealClassifier
from gcisg_cls.datasets import ClassFolderDataset
from gcisg_cls.metrics import ClassAccuracy
from gcisg_cls.model_metrics import metric_values
from gcisg_cls.views import normalize
from gcisg_core.problems import DataError
from gcisg_core.views import RandAugment
from gcisg_suite.miniature.network import MiniResNet

from .conftest import CLASSES


class TestBackbones:
    def test_a_resnet_gives_pooled_features(self):
        network, channels = build_backbone("resnet18")
        assert channels == 512
        assert network(torch.rand(2, 3, 64, 64)).shape == (2, 512)

    def test_an_unknown_name_is_refused(self):
        with pytest.raises(ValueError, match="unknown backbone 'resnet100'. Did you mean 'resnet101'"):
            build_backbone("resnet100")

    def test_loads_a_state_dict_file_without_its_classifier(self, tmp_path):
        state = torchvision.models.resnet18().state_dict()
        torch.save(state, tmp_path / "r18.pth")
        network, _ = build_backbone("resnet18")
        load_pretrained(network, "resnet18", str(tmp_path / "r18.pth"))
        assert torch.equal(network.conv1.weight, state["conv1.weight"])

    def test_weights_of_another_network_are_refused(self, tmp_path):
        torch.save(torchvision.models.resnet34().state_dict(), tmp_path / "r34.pth")
        network, _ = build_backbone("resnet18")
        with pytest.raises(ValueError, match=r"r34.pth: is for another network, .*100 of 180 .*layer1.2.conv1.weight"):
            load_pretrained(network, "resnet18", str(tmp_path / "r34.pth"))

    def test_what_cannot_be_had_says_which_file_to_put_where(self, monkeypatch):
        def offline(*_, **__):
            raise OSError("no network")

        monkeypatch.setattr(torchvision.models._api, "load_state_dict_from_url", offline)
        network, _ = build_backbone("resnet101")
        with pytest.raises(FileNotFoundError, match=r"Put http\S+/resnet101-63fe2227.pth into \S+checkpoints, or give"):
            load_pretrained(network, "resnet101", "IMAGENET1K_V1")

    def test_an_unknown_name_of_weights_lists_the_known(self):
        network, _ = build_backbone("resnet18")
        with pytest.raises(
            FileNotFoundError,
            match=r"no such file, and torchvision has no weights of that name \(it has: IMAGENET1K_V1",
        ):
            load_pretrained(network, "resnet18", "imagenet.pth")

    def test_a_file_that_would_run_code_is_refused(self, tmp_path):
        class Payload:
            def __reduce__(self):
                return (open, (str(tmp_path / "ran"), "w"))

        torch.save({"conv1.weight": Payload()}, tmp_path / "evil.pth")
        network, _ = build_backbone("resnet18")
        with pytest.raises(DataError, match="evil.pth: is refused: it asks for"):
            load_pretrained(network, "resnet18", str(tmp_path / "evil.pth"))
        assert not (tmp_path / "ran").exists()


def test_the_metric_equals_scikit_learn():
    MMLogger.get_instance("test")
    rng = np.random.default_rng(0)
    labels, predictions = rng.integers(0, 3, 50), rng.integers(0, 3, 50)
    metric = ClassAccuracy()
    metric.dataset_meta = {"classes": CLASSES}
    for label, prediction in zip(labels, predictions, strict=True):
        metric.process(None, [{"label": torch.tensor(label), "prediction": torch.tensor(prediction)}])
    values = metric.evaluate(50)
    assert values["accuracy/mean_class"] == pytest.approx(100 * balanced_accuracy_score(labels, predictions))
    assert values["accuracy/overall"] == pytest.approx(100 * accuracy_score(labels, predictions))


def make_classifier(**kwargs):
    torch.manual_seed(0)
    return SynToRealClassifier("mini_resnet", num_classes=3, hidden=8, **kwargs)


class TestClassifier:
    def test_modes(self):
        model = make_classifier(regularizer={"method": "gcisg", "queue_length": 20})
        views, label = [torch.rand(4, 3, 32, 32) for _ in range(2)], torch.tensor([0, 1, 2, 0])
        losses = model(views, label, mode="loss")
        assert {"loss_task", "loss_ci_stage3", "loss_guidance_stage4", "ci_match_stage3"} <= losses.keys()
        total, logged = model.parse_losses(losses)
        torch.testing.assert_close(total, sum(value for name, value in losses.items() if "loss" in name))
        assert "queue_concentration_stage4" in logged
        model.eval()
        predictions = model(views[0], label, mode="predict")
        assert [int(p["label"]) for p in predictions] == label.tolist()
        assert [int(p["prediction"]) for p in predictions] == model(views[0]).argmax(1).tolist()

    def test_flip_averaged_predictions_are_of_the_mean_over_image_and_mirror_image(self):
        plain, model = make_classifier().eval(), make_classifier(flip_average=True).eval()
        images = torch.randn(64, 3, 32, 32)
        with torch.no_grad():
            for network in (plain, model):
                network.head[2].weight.mul_(30)  # so that some predictions change
            first, mirrored = model(images), model(torch.flip(images, dims=(3,)))
            mean = (1 / (1 + torch.exp(-first)) + 1 / (1 + torch.exp(-mirrored))) / 2
            torch.testing.assert_close(model.averaged_scores(images), mean)
            averaged, single = (
                torch.stack([sample["prediction"] for sample in network(images, mode="predict")])
                for network in (model, plain)
            )
        assert torch.equal(averaged, mean.argmax(dim=1))
        assert torch.equal(single, first.argmax(dim=1))
        assert not torch.equal(averaged, single)

    def test_the_task_loss_needs_labels(self):
        with pytest.raises(ValueError, match="label must be given"):
            make_classifier()(torch.rand(2, 3, 32, 32), mode="loss")

    def test_norm_eval_keeps_the_running_statistics(self):
        model = make_classifier(norm_eval=True).train()
        before = model.backbone.bn1.running_mean.clone()
        model(torch.rand(4, 3, 32, 32), torch.tensor([0, 1, 2, 0]), mode="loss")
        assert torch.equal(model.backbone.bn1.running_mean, before)
        assert model.backbone.training

    def test_the_head_is_the_papers(self):
        head = SynToRealClassifier("resnet50", num_classes=12).head
        assert [(m.in_features, m.out_features) for m in (head[0], head[2])] == [(2048, 512), (512, 12)]


def test_measures_of_the_untrained_network(images, tmp_path):
    """The pretrained network against itself: alignment 1, and the accuracy of its own classifier."""
    torch.manual_seed(0)
    pretrained = MiniResNet(num_classes=3).eval()
    torch.save(pretrained.state_dict(), tmp_path / "reference.pth")
    model = make_classifier()
    load_pretrained(model.backbone, "mini_resnet", str(tmp_path / "reference.pth"))
    dataset = ClassFolderDataset(str(images), {"type": "EvalView", "size": 32}, CLASSES)
    result = metric_values(model, dataset, str(tmp_path / "reference.pth"), dataset, batch_size=5)
    pixels = normalize(torch.stack([dataset[i]["inputs"] for i in range(12)]))
    labels = torch.tensor([label for _, label in dataset.samples])
    with torch.no_grad():
        own = model(pixels).argmax(1)
        assert result["acc_in"] == pytest.approx(100 * (pretrained(pixels).argmax(1) == labels).float().mean().item())
    assert result["cka"] == pytest.approx(1, abs=1e-6)
    assert result["accuracy"] == pytest.approx(100 * balanced_accuracy_score(labels, own))
    assert 0 <= result["match_rate"] <= 100


def test_randaugment_is_the_default_of_the_protocol():
    assert (RandAugment().num_ops, RandAugment().magnitude) == (1, 6.0)
