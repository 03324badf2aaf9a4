"""The measures of detectors against the framework's evaluator and a search over all matchings."""

import itertools
import math

import pytest
import torch

pytest.importorskip("detectron2")
import gcisg_det  # noqa: F401  repairs Detectron2 0.5 before it is imported

# isort: split
from detectron2.modeling import build_model
from scipy.sparse import csr_matrix
from scipy.sparse.csgraph import maximum_bipartite_matching
from torchvision.ops import box_iou

from gcisg_det.engine import Trainer
from gcisg_det.model_metrics import Boxes, agreement, bottom_up, detections, evaluate, match, restyled
from gcisg_det.setups import setup_of
from tests.detection.scenes import SCENES, make_cityscapes, tiny_config

NAME = "cityscapes_val_car_coco"


@pytest.fixture
def cfg(tmp_path):
    make_cityscapes(tmp_path, SCENES)
    return tiny_config(tmp_path, tmp_path / "out", "DATASETS.TEST", f"('{NAME}',)")


@pytest.fixture
def model(cfg):
    """Untrained, but sure enough of its boxes that some are counted."""
    torch.manual_seed(0)
    model = build_model(cfg).eval()
    with torch.no_grad():
        for weight in model.backbone.parameters():
            weight.mul_(0.7)  # the frozen normalisation would let the features overflow
        model.roi_heads.box_predictor.cls_score.bias[:] = torch.tensor([1.0, 0.0])
        model.roi_heads.box_predictor.cls_score.weight.mul_(20)
    return model


def random_boxes(count, generator):
    corners = torch.rand(count, 2, generator=generator) * 4
    size = 5 + torch.rand(count, 2, generator=generator) * 5
    return Boxes(torch.cat([corners, corners + size], 1), torch.randint(2, (count,), generator=generator))


def most_pairs(first, second):
    allowed = (box_iou(first.boxes, second.boxes) >= 0.5) & (first.classes[:, None] == second.classes)
    if len(first.boxes) > len(second.boxes):
        allowed = allowed.T
    rows = range(len(allowed))
    return max(
        sum(bool(allowed[row, column]) for row, column in zip(rows, columns, strict=True))
        for columns in itertools.permutations(range(allowed.shape[1]), len(allowed))
    )


@pytest.mark.parametrize("seed", range(20))
def test_as_many_boxes_match_as_can(seed):
    generator = torch.Generator().manual_seed(seed)
    first, second = random_boxes(4, generator), random_boxes(5, generator)
    pairs = match(first, second)
    assert len(pairs) == most_pairs(first, second)
    assert all(first.classes[row] == second.classes[column] for row, column in pairs)
    assert len({row for row, _ in pairs}) == len({column for _, column in pairs}) == len(pairs)
    assert agreement(first, second) == (2 * len(pairs), 9)


def test_boxes_match_themselves_and_nothing_matches_nothing():
    boxes = random_boxes(4, torch.Generator().manual_seed(0))
    empty = Boxes(torch.zeros(0, 4), torch.zeros(0, dtype=torch.long))
    assert agreement(boxes, boxes) == (8, 8)
    assert agreement(boxes, empty) == (0, 4)
    assert agreement(empty, empty) == (0, 0)


def test_figures_equal_the_frameworks_evaluation(cfg, model):
    result = evaluate(model, setup_of(cfg), NAME, bottom_up(model))
    expected = Trainer.test(cfg, model)[NAME]["bbox"]
    for key in ("AP", "AP50", "AP75"):
        assert result.values[key] == pytest.approx(expected[key], nan_ok=True)
    assert result.per_class == {"car": {"AP": result.values["AP"]}}
    assert [result.values[f"cka_stage{stage}"] for stage in (1, 2, 3, 4)] == pytest.approx([1] * 4)


def test_match_rate_and_confusion_count_the_boxes(cfg, model):
    result = evaluate(model, setup_of(cfg), NAME)
    matched = boxes = found_in_all = 0
    with torch.no_grad():
        for index, inputs in enumerate(Trainer.build_test_loader(cfg, NAME)):
            found = detections(model(inputs)[0])
            changed = detections(model(restyled(inputs, cfg.INPUT.FORMAT, index))[0])
            allowed = csr_matrix(box_iou(found.boxes, changed.boxes).numpy() >= 0.5)  # there is one class
            matched += 2 * int((maximum_bipartite_matching(allowed) >= 0).sum())
            boxes += len(found.boxes) + len(changed.boxes)
            found_in_all += len(found.boxes)
    assert boxes > 0
    assert result.values["match_rate"] == pytest.approx(100 * matched / boxes)
    assert result.confusion[:, 0].sum() == found_in_all
    cars = [polygon for scene in SCENES for label, polygon in scene if label == "car"]
    assert result.confusion[0].sum() == len(cars)  # groups are no truth
    assert result.axes == ["car", "background"]


def test_a_model_that_finds_nothing_says_so(cfg, model):
    with torch.no_grad():
        model.roi_heads.box_predictor.cls_score.bias[:] = torch.tensor([-40.0, 40.0])
    result = evaluate(model, setup_of(cfg), NAME)
    assert result.values["match_rate"] == "no box has a score of at least 0.5"
    assert result.values["AP"] == 0 or isinstance(result.values["AP"], str)
    assert math.isnan(result.score[1])  # no car, none found
    assert result.score[0] == 0
