"""`feature_l2` and `asg` against forms written position by position in float64."""

import math

import pytest
import torch
from torch import nn

from gcisg_core.problems import DataError
from gcisg_core.regularizers import build_regularizer


class Student(nn.Module):
    """Stage 4 of 5 channels at 4 x 4 positions of 8 x 8 images, with features of both signs."""

    def __init__(self):
        super().__init__()
        torch.manual_seed(0)
        self.layer3 = nn.Conv2d(3, 4, 3, stride=2, padding=1)
        self.layer4 = nn.Conv2d(4, 5, 3, padding=1)

    def forward(self, x):
        return self.layer4(self.layer3(x))


def build(method, **settings):
    student = Student().double()
    where = {"stage_locations": {3: "layer3", 4: "layer4"}}
    regularizer = build_regularizer(student, {"method": method, **where, **settings}).double()
    with torch.no_grad():
        regularizer.init_from_student()
        for parameter in student.parameters():
            parameter.add_(0.1 * torch.randn_like(parameter))
    return regularizer


def views(count=2):
    return [torch.rand(3, 3, 8, 8, generator=torch.Generator().manual_seed(i)).double() for i in range(count)]


def step(regularizer, mask=None):
    given = views(regularizer.views_needed)
    return regularizer.step(given, lambda: {"loss_task": regularizer.student(given[-1]).sum() * 0}, mask)


def half_padded():
    mask = torch.ones(3, 8, 8, dtype=torch.bool)
    mask[1, 4:] = False
    return mask


def rows(features, mask):
    """The feature vectors of all positions that are not padding, image by image."""
    kept = [[] for _ in features]
    for image, maps in enumerate(features.tolist()):
        for r in range(4):
            for c in range(4):
                if mask is None or mask[image, 2 * r, 2 * c]:
                    kept[image].append([channel[r][c] for channel in maps])
    return kept


@pytest.mark.parametrize("task_view", [0, 1])
@pytest.mark.parametrize("mask", [None, half_padded()])
def test_feature_l2_is_the_mean_distance_of_positions(task_view, mask):
    regularizer = build("feature_l2", lambda_feature_l2=2.0, task_view=task_view)
    losses, _ = step(regularizer, mask)
    image = views()[task_view]
    mine = rows(regularizer.student(image), mask)
    theirs = rows(regularizer.reference.encoder(image), mask)
    distances = [math.dist(a, b) for m, t in zip(mine, theirs, strict=True) for a, b in zip(m, t, strict=True)]
    assert losses["loss_feature_l2_stage4"].item() == pytest.approx(2 * sum(distances) / len(distances), rel=1e-12)


def test_feature_l2_of_equal_features_has_a_finite_gradient():
    regularizer = build("feature_l2")
    regularizer.student.load_state_dict(regularizer.reference.encoder.state_dict())
    losses, _ = step(regularizer)
    losses["loss_feature_l2_stage4"].backward()
    assert losses["loss_feature_l2_stage4"] == 0
    assert all(parameter.grad.isfinite().all() for parameter in regularizer.student.parameters())


@pytest.fixture
def classifier(tmp_path):
    torch.manual_seed(5)
    state = {"fc.weight": torch.randn(6, 5), "fc.bias": torch.randn(6), "conv1.weight": torch.zeros(1)}
    torch.save(state, tmp_path / "network.pth")
    return tmp_path / "network.pth"


def slow_divergence(student, reference, classifier, temperature, per_location):
    """Mean of sum_c p_r log(p_r / p_s), one prediction an image or one a position."""
    state = torch.load(classifier, weights_only=True)
    weight, bias = state["fc.weight"].tolist(), state["fc.bias"].tolist()

    def predict(vector):
        scores = [(sum(w * v for w, v in zip(row, vector, strict=True)) + b) / temperature
                  for row, b in zip(weight, bias, strict=True)]  # fmt: skip
        total = sum(math.exp(score) for score in scores)
        return [math.exp(score) / total for score in scores]

    values = []
    for mine, theirs in zip(student, reference, strict=True):
        if not per_location:
            mine, theirs = ([[sum(c) / len(c) for c in zip(*vectors, strict=True)]] for vectors in (mine, theirs))
        for a, b in zip(mine, theirs, strict=True):
            values.append(sum(p * math.log(p / q) for p, q in zip(predict(b), predict(a), strict=True)))
    return sum(values) / len(values)


@pytest.mark.parametrize("per_location", [False, True])
@pytest.mark.parametrize("mask", [None, half_padded()])
def test_asg_is_the_divergence_of_the_predictions(per_location, mask, classifier):
    settings = {"classifier": str(classifier), "lambda_asg": 3.0, "temperature": 2.0, "per_location": per_location}
    regularizer = build("asg", **settings)
    losses, metrics = step(regularizer, mask)
    image = views()[0]
    features = rows(regularizer.student(image), mask), rows(regularizer.reference.encoder(image), mask)
    expected = 3 * slow_divergence(*features, classifier, 2.0, per_location)
    assert expected > 1e-4
    assert losses["loss_asg"].item() == pytest.approx(expected, rel=1e-9)
    assert 0 <= metrics["asg_agreement"] <= 1


@pytest.mark.remedy(
    "asg keeps its predictions and cannot work without it. Give a state dict of torchvision's form",
    "no such file. Give a state dict of torchvision's form with fc.weight and fc.bias",
    "Give the whole pretrained network in torchvision's form, not its backbone alone",
    "Give the classifier of its own weights",
)
def test_asg_without_a_classifier_is_refused_with_the_reason(tmp_path, classifier):
    with pytest.raises(ValueError, match=r"classifier must be the file of the pretrained classifier: asg .* got ''"):
        build("asg")
    with pytest.raises(FileNotFoundError, match=r"none.pth': no such file. Give a state dict"):
        build("asg", classifier=str(tmp_path / "none.pth"))
    torch.save({"conv1.weight": torch.zeros(1)}, tmp_path / "backbone.pth")
    with pytest.raises(ValueError, match=r"fc.weight and fc.bias are not both in it \(it holds conv1.weight"):
        build("asg", classifier=str(tmp_path / "backbone.pth"))
    assert build("asg", classifier=str(classifier)).weight.shape == (6, 5)
    with pytest.raises(ValueError, match=r"fc.weight is \(6, 5\) .*expected \(classes, 4\)"):
        build("asg", classifier=str(classifier), stage=3)
    torch.save({"fc.weight": torch.zeros(6, 4), "fc.bias": torch.zeros(6)}, tmp_path / "own.pth")
    assert build("asg", classifier=str(tmp_path / "own.pth"), stage=3).weight.shape == (6, 4)


def test_a_classifier_that_would_run_code_is_refused(tmp_path):
    class Payload:
        def __reduce__(self):
            return (open, (str(tmp_path / "ran"), "w"))

    torch.save({"fc.weight": Payload(), "fc.bias": torch.zeros(1)}, tmp_path / "evil.pth")
    with pytest.raises(DataError, match="evil.pth: is refused: it asks for"):
        build("asg", classifier=str(tmp_path / "evil.pth"))
    assert not (tmp_path / "ran").exists()


def test_the_place_of_the_classifier_may_name_the_environment(classifier, monkeypatch):
    monkeypatch.setenv("WEIGHTS", str(classifier.parent))
    assert build("asg", classifier="$WEIGHTS/network.pth").weight.shape == (6, 5)
