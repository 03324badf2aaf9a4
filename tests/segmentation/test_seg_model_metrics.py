"""The measures of segmentors against mmseg's evaluator and naive counts."""

from __future__ import annotations

import pytest
import torch
from mmengine.dataset import pseudo_collate
from mmengine.registry import init_default_scope
from mmseg.registry import DATASETS, METRICS
from sklearn.metrics import confusion_matrix

import gcisg_seg.registry  # noqa: F401
from gcisg_seg.model_metrics import evaluate, metric_values, predict, restyled
from tests.segmentation.segmentors import build

CLASSES = ("road", "sidewalk", "building", "wall", "fence")


@pytest.fixture
def dataset(cityscapes):
    init_default_scope("mmseg")
    keys = ("img_path", "seg_map_path", "ori_shape", "img_shape", "domain")
    steps = {"LoadCheckedImage": {}, "LoadLabelIds": {}, "PackSegInputs": {"meta_keys": keys}}
    config = {
        "type": "CityscapesLabelIdsDataset",
        "data_root": str(cityscapes),
        "split": "val",
        "test_mode": True,
        "metainfo": {"classes": CLASSES},
        "pipeline": [{"type": name, **arguments} for name, arguments in steps.items()],
    }
    return DATASETS.build(config)


@pytest.fixture
def model():
    return build("deeplabv3plus", {"method": "none"}).eval()


def batches(dataset):
    return [pseudo_collate([dataset[index]]) for index in range(len(dataset))]


def test_figures_equal_the_frameworks_evaluator(model, dataset):
    result = evaluate(model, dataset)
    evaluator = METRICS.build({"type": "DomainIoUMetric"})
    evaluator.dataset_meta = dataset.metainfo
    for batch in batches(dataset):
        with torch.no_grad():
            evaluator.process({}, [sample.to_dict() for sample in model.test_step(batch)])
    expected = evaluator.compute_metrics(evaluator.results)
    assert result.values["mIoU"] == pytest.approx(expected["mIoU"])
    assert result.values["aAcc"] == pytest.approx(expected["cityscapes/aAcc"], abs=0.006)  # mmseg rounds
    iou = [row["IoU"] for row in result.per_class.values()]
    assert sum(iou) / len(iou) == pytest.approx(expected["mIoU"])


def test_confusion_and_scores_equal_scikit_learns(model, dataset):
    result = evaluate(model, dataset)
    expected, scores = 0, []
    for batch in batches(dataset):
        truth = batch["data_samples"][0].gt_sem_seg.data[0]
        with torch.no_grad():
            found = predict(model, batch)
        valid = truth != 255
        expected = expected + confusion_matrix(truth[valid], found[valid], labels=range(len(CLASSES)))
        scores.append((truth == found)[valid].float().mean().item())
    assert (result.confusion.numpy() == expected).all()
    assert result.score == pytest.approx(scores)
    assert result.failure == pytest.approx([1 - score for score in scores])


def test_match_rate_is_the_share_of_all_pixels(model, dataset):
    result = evaluate(model, dataset)
    with torch.no_grad():
        shares = [
            (predict(model, batch) == predict(model, restyled(model, batch, index))).float().mean().item()
            for index, batch in enumerate(batches(dataset))
        ]
    assert result.match == pytest.approx(shares)
    assert result.values["match_rate"] == pytest.approx(100 * sum(shares) / len(shares))
    assert 0 < result.values["match_rate"] < 100


def test_a_model_that_ignores_the_image_matches_everywhere(model, dataset):
    with torch.no_grad():
        model.decode_head.conv_seg.weight.zero_()
    assert metric_values(model, dataset)["match_rate"] == 100


def test_the_restyle_sees_red_as_red(model, dataset):
    """mmcv's channels are blue, green, red: the same image as RGB, restyled and turned, is the same."""
    batch = batches(dataset)[0]
    model.data_preprocessor.loaded_as_rgb = True
    turned = restyled(model, {**batch, "inputs": [batch["inputs"][0].flip(0)]}, 3)["inputs"][0]
    model.data_preprocessor.loaded_as_rgb = False
    torch.testing.assert_close(restyled(model, batch, 3)["inputs"][0], turned.flip(0))


def test_the_network_against_itself_is_aligned_at_every_stage(model, dataset):
    values = metric_values(model, dataset, model.backbone)
    assert [values[f"cka_stage{stage}"] for stage in (1, 2, 3, 4)] == pytest.approx([1] * 4)
    assert isinstance(values["energy_0"], float)


def test_images_without_labels_have_the_measures_that_need_none(model, dataset):
    dataset.pipeline.transforms.pop(1)
    result = evaluate(model, dataset)
    assert result.values["mIoU"] == "the images have no labels"
    assert isinstance(result.values["match_rate"], float)
    assert result.confusion == "the images have no labels"
