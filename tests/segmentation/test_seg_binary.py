"""Heads with one output channel, and heads that ignore another value than 255."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest
import torch
from mmengine.dataset import pseudo_collate
from mmengine.registry import init_default_scope
from PIL import Image

import gcisg_seg.registry  # noqa: F401
from gcisg_seg.analysis import SegmentationTask
from gcisg_seg.datasets import ImageLabelDataset
from gcisg_seg.evaluation import DomainIoUMetric
from gcisg_seg.model_metrics import evaluate, predict
from gcisg_seg.panels import draw
from gcisg_seg.predict import Predictor
from tests.segmentation.segmentors import FCN_AUX, SEGMENTORS, batch, build

KEYS = ("img_path", "seg_map_path", "ori_shape", "img_shape", "domain")
STEPS = {"LoadCheckedImage": {}, "LoadClassLabels": {}, "PackSegInputs": {"meta_keys": KEYS}}
SIGMOID = {"num_classes": 2, "out_channels": 1, "threshold": 0.4,
           "loss_decode": {"type": "CrossEntropyLoss", "use_sigmoid": True}}  # fmt: skip


def with_heads(**changes):
    parts = SEGMENTORS["deeplabv3plus"]
    return build(
        "deeplabv3plus", decode_head={**parts["decode_head"], **changes}, auxiliary_head={**FCN_AUX, **changes}
    )


@pytest.fixture
def model(dataset):
    """One channel that is above its threshold for about half of the pixels."""
    model = with_heads(**SIGMOID).eval()
    with torch.no_grad():
        model.decode_head.conv_seg.weight.normal_(generator=torch.Generator().manual_seed(0)).mul_(3)
        inputs = model.data_preprocessor(pseudo_collate([dataset[0]]), False)["inputs"]
        model.decode_head.conv_seg.bias.sub_(model(inputs, mode="tensor").median() + 0.4)  # sigmoid(-0.4) = 0.4
    return model


@pytest.fixture
def dataset(tmp_path):
    """Masks of 0 and 255."""
    init_default_scope("mmseg")
    rng = np.random.default_rng(0)
    for part in ("images", "labels"):
        (tmp_path / part).mkdir()
    for number in range(3):
        Image.fromarray(rng.integers(0, 256, (64, 64, 3), np.uint8)).save(tmp_path / f"images/{number}.png")
        Image.fromarray(255 * rng.integers(0, 2, (64, 64), np.uint8)).save(tmp_path / f"labels/{number}.png")
    pipeline = [{"type": name, **arguments} for name, arguments in STEPS.items()]
    meta = {"classes": ("background", "object")}
    return ImageLabelDataset(str(tmp_path), meta, label_values=(0, 255), test_mode=True, pipeline=pipeline)


def expected_of(model, dataset):
    """(prediction, truth) of all images, by the head's own scores."""
    with torch.no_grad():
        for index in range(len(dataset)):
            item = dataset[index]
            scores = model(model.data_preprocessor(pseudo_collate([item]), False)["inputs"], mode="tensor")
            scores = torch.nn.functional.interpolate(scores, (64, 64), mode="bilinear")[0, 0]
            yield (scores.sigmoid() > 0.4).long(), item["data_samples"].gt_sem_seg.data[0].long()


def test_one_channel_is_measured_by_its_threshold(model, dataset):
    found = evaluate(model, dataset)
    predictions, truths = (torch.stack(maps) for maps in zip(*expected_of(model, dataset), strict=True))
    assert 0.1 < predictions.double().mean() < 0.9
    assert found.values["aAcc"] == pytest.approx(100 * (predictions == truths).double().mean().item())
    iou = [((predictions == c) & (truths == c)).sum() / ((predictions == c) | (truths == c)).sum() for c in (0, 1)]
    assert found.values["mIoU"] == pytest.approx(100 * sum(iou).item() / 2, rel=1e-5)
    assert found.confusion.sum() == truths.numel()
    assert found.confusion[1, 0] == ((truths == 1) & (predictions == 0)).sum()


def test_one_channel_is_drawn_and_saved_as_classes(model, dataset):
    expected = next(expected_of(model, dataset))[0].numpy()
    prediction = predict(model, pseudo_collate([dataset[0]]))
    assert prediction.dtype == torch.int64
    np.testing.assert_array_equal(prediction, expected)
    colours = np.array([(10, 20, 30), (200, 100, 50)], np.uint8)
    figure = draw(dataset, {"model": model}, colours, count=1)
    np.testing.assert_array_equal(figure.axes[2].images[0].get_array(), colours[expected])
    predictor = Predictor.__new__(Predictor)
    predictor.model, predictor.classes, predictor.palette, predictor.first = model, ["a", "b"], colours.tolist(), 0
    result = SimpleNamespace(pred_sem_seg=SimpleNamespace(data=prediction[None]))
    saved = predictor.label_map(result)
    np.testing.assert_array_equal(np.asarray(saved), expected)
    (entry,) = predictor.record(result, {})
    assert entry["shares"]["b"] == pytest.approx(expected.mean())
    predictor.first = 1  # reduce_zero_label
    saved = predictor.label_map(result)
    np.testing.assert_array_equal(np.asarray(saved), expected + 1)
    np.testing.assert_array_equal(np.asarray(saved.convert("RGB")), colours[expected])


@pytest.mark.parametrize("second", [0, 1])
def test_what_one_channel_explains_is_the_score_of_the_chosen_class(second):
    labels = torch.zeros(8, 8, dtype=torch.long)
    labels[:2] = 1
    task = SegmentationTask.__new__(SegmentationTask)
    task.dataset = SimpleNamespace(metainfo={"classes": ("a", "b")})
    task.truth = lambda index: labels if second else 1 - labels
    task.inputs = lambda index: torch.zeros(1, 3, 8, 8)
    _, score = task.explained(None, 0, (slice(0, 8), slice(0, 8)))
    scores = torch.randn(1, 8, 8, generator=torch.Generator().manual_seed(0))
    two = torch.cat([-scores, scores])
    assert score(scores) == pytest.approx(score(two).item())


def test_one_channel_trains_and_ignores_255():
    torch.manual_seed(0)
    losses = []
    for seed in (1, 2):  # what is predicted where the labels are 255 must not matter to the gradient
        model = with_heads(**SIGMOID)
        data = batch()
        for index, sample in enumerate(data["data_samples"]):
            sample.gt_sem_seg.data = torch.full((1, 64, 64), 255) if index else sample.gt_sem_seg.data % 2
        generator = torch.Generator().manual_seed(seed)
        data["inputs"][1] = torch.randint(0, 256, (3, 64, 64), generator=generator, dtype=torch.uint8)
        logits = torch.randn(2, 1, 64, 64, generator=torch.Generator().manual_seed(0))
        logits[1] = seed
        losses.append(model.decode_head.loss_by_feat(logits, data["data_samples"])["loss_ce"])
    assert torch.isfinite(losses[0])
    assert losses[0] == losses[1]
    whole = with_heads(**SIGMOID)
    data = whole.data_preprocessor(batch(), True)
    for sample in data["data_samples"]:
        sample.gt_sem_seg.data = sample.gt_sem_seg.data % 2
    assert torch.isfinite(sum(value.sum() for name, value in whole(**data, mode="loss").items() if "loss" in name))


def loss_where_half_has_no_class(**changes):
    model = with_heads(**changes)
    torch.manual_seed(0)  # of the views
    data = model.data_preprocessor(batch(), True)
    for sample in data["data_samples"]:
        sample.gt_sem_seg.data[:, :32] = 255
    torch.manual_seed(0)  # of dropout
    return model(**data, mode="loss")["decode.loss_ce"].item()


@pytest.mark.parametrize("ignored", [254, 9])
def test_a_head_with_another_ignore_index_ignores_255_too(ignored):
    assert loss_where_half_has_no_class(ignore_index=ignored) == pytest.approx(loss_where_half_has_no_class())


def test_the_metric_ignores_255_whatever_else_it_ignores():
    generator = torch.Generator().manual_seed(0)
    prediction, labels = (torch.randint(0, 5, (40, 40), generator=generator) for _ in range(2))
    labels[:10] = 255
    expected = DomainIoUMetric.intersect_and_union(prediction[10:], labels[10:], 5, 255)
    for ignored in (255, 254):
        found = DomainIoUMetric.intersect_and_union(prediction, labels, 5, ignored)
        assert all(torch.equal(*areas) for areas in zip(found, expected, strict=True))
