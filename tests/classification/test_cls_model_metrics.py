"""The measures of classifiers with known answers."""

import numpy as np
import pytest
import torch
from PIL import Image
from sklearn.metrics import accuracy_score, balanced_accuracy_score, confusion_matrix, recall_score

from gcisg_cls.classifier import SynToRealClassifier
from gcisg_cls.datasets import ClassFolderDataset
from gcisg_cls.model_metrics import evaluate, original_accuracy, original_classifier
from gcisg_cls.views import MEAN, STD, normalize

from .conftest import CLASSES, write_images


class Judge(SynToRealClassifier):
    """Answers by a rule; the backbone runs beside it."""

    def __init__(self, rule):
        super().__init__("mini_resnet", num_classes=3, hidden=0)
        self.rule = rule

    def scores(self, images):
        self.backbone(images)
        pixels = images * torch.tensor(STD)[:, None, None] + torch.tensor(MEAN)[:, None, None]
        return torch.nn.functional.one_hot(self.rule(pixels), 3).float()


@pytest.fixture
def dataset(tmp_path):
    return ClassFolderDataset(
        str(write_images(tmp_path / "images", per_class=8)), {"type": "EvalView", "size": 32}, CLASSES
    )


def colour(pixels):
    """The strongest channel, by which these images are told apart."""
    return pixels.mean((2, 3)).argmax(1)


def layout(pixels):
    """No colour: whether the left half is lighter; a change of colour keeps the order of greys."""
    light = pixels.mean(1)
    return (light[:, :, :12].mean((1, 2)) > light[:, :, 20:].mean((1, 2))).long()


def halves(root):
    """Grey images, the left or the right half of which is lighter."""
    for label, name in enumerate(CLASSES):
        (root / name).mkdir(parents=True)
        for number in range(8):
            pixels = np.full((32, 32, 3), 70 + number, np.uint8)
            pixels[:, 16 * ((number + label) % 2) :][:, :16] += 80
            Image.fromarray(pixels).save(root / name / f"{number}.png")
    return ClassFolderDataset(str(root), {"type": "EvalView", "size": 32}, CLASSES)


def test_match_rate_is_one_for_a_model_that_ignores_colour(tmp_path):
    grey = halves(tmp_path / "halves")
    blind = evaluate(Judge(layout), grey, batch_size=7)
    assert blind.values["match_rate"] == 100
    assert set(predict(Judge(layout), grey).argmax(1).tolist()) == {0, 1}  # it does look at the image
    light = evaluate(Judge(lambda pixels: (pixels.mean((1, 2, 3)) > 0.45).long()), grey)
    assert light.values["match_rate"] < 90


def test_match_rate_is_less_for_a_model_that_reads_colour(dataset):
    reader = evaluate(Judge(colour), dataset, batch_size=7)
    assert reader.values["accuracy"] == 100
    assert reader.values["match_rate"] < 90
    assert reader.values["match_rate"] == pytest.approx(100 * sum(reader.match) / 24)


def test_figures_equal_scikit_learns(dataset):
    torch.manual_seed(0)
    model = SynToRealClassifier("mini_resnet", num_classes=3, hidden=4).eval()
    result = evaluate(model, dataset, batch_size=7)
    labels, predictions = [label for _, label in dataset.samples], predict(model, dataset).argmax(1).tolist()
    assert result.values["accuracy"] == pytest.approx(100 * balanced_accuracy_score(labels, predictions))
    assert result.values["overall"] == pytest.approx(100 * accuracy_score(labels, predictions))
    assert (result.confusion.numpy() == confusion_matrix(labels, predictions, labels=range(3))).all()
    recalls = recall_score(labels, predictions, average=None, labels=range(3))
    assert [row["accuracy"] for row in result.per_class.values()] == pytest.approx((100 * recalls).tolist())


def predict(model, dataset):
    images = torch.stack([dataset[index]["inputs"] for index in range(len(dataset))])
    with torch.no_grad():
        return model.scores(normalize(images)).softmax(1)


def test_the_surest_wrong_prediction_is_the_worst_failure(dataset):
    torch.manual_seed(0)
    model = SynToRealClassifier("mini_resnet", num_classes=3, hidden=4).eval()
    result = evaluate(model, dataset)
    sure = predict(model, dataset)
    labels = torch.tensor(result.labels)
    wrong = torch.where(sure.argmax(1) == labels, 0, sure.max(1).values)
    torch.testing.assert_close(torch.tensor(result.failure), wrong, atol=1e-5, rtol=1e-5)


def test_the_original_classifier_is_found_by_its_names():
    weight, bias = torch.randn(5, 3), torch.randn(5)
    for names in (("fc.weight", "fc.bias"), ("linear.weight", "linear.bias"), ("fc1000_w", "fc1000_b")):
        found = original_classifier(dict(zip(names, (weight.numpy(), bias), strict=True)))
        assert torch.equal(found.weight, weight)
        assert torch.equal(found.bias, bias)
    assert original_classifier({"conv1.weight": weight}) is None


@pytest.mark.remedy("Give images of the task that the reference was trained on, one folder for each class")
@pytest.mark.remedy("needs validation images of the pretraining task: --imagenet")
def test_acc_in_without_a_meaning_says_why(dataset):
    assert "no classifier" in original_accuracy(lambda x: x, None, dataset)
    with pytest.raises(ValueError, match="3 classes, but the reference's classifier has 4"):
        original_accuracy(lambda x: x, torch.nn.Linear(2, 4), dataset)
    absent = original_accuracy(lambda x: x, torch.nn.Linear(3, 3), None)
    assert absent == "needs validation images of the pretraining task: --imagenet"
    assert 0 <= original_accuracy(lambda x: x.float().mean((2, 3)), torch.nn.Linear(3, 3), dataset) <= 100
    reason = original_accuracy(lambda x: x.float().mean((2, 3)), torch.nn.Linear(2, 3), dataset)
    assert reason == "the backbone ends in 3 channels, the classifier takes 2"
