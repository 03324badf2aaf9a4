"""mIoU against the official script, and over several targets."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest
import torch
from cityscapesscripts.evaluation import evalPixelLevelSemanticLabeling as official  # noqa: N813
from cityscapesscripts.helpers.labels import trainId2label
from mmengine.evaluator import Evaluator
from mmseg.datasets import CityscapesDataset
from PIL import Image

from gcisg_seg.evaluation import DomainIoUMetric
from gcisg_seg.layouts import LABEL_TABLES


def evaluate(samples: list[tuple[str, np.ndarray, np.ndarray]]) -> dict[str, float]:
    """Metrics of (domain, prediction, truth) triples of train IDs, through mmengine's evaluator."""
    evaluator = Evaluator({"type": DomainIoUMetric})
    evaluator.dataset_meta = CityscapesDataset.METAINFO
    for domain, prediction, truth in samples:
        data = {"pred_sem_seg": {"data": torch.from_numpy(prediction)[None].long()},
                "gt_sem_seg": {"data": torch.from_numpy(truth)[None].long()}, "domain": domain}  # fmt: skip
        evaluator.process([data])
    return evaluator.evaluate(len(samples))


@pytest.mark.parametrize("classes", [19, 12], ids=["all classes", "some classes absent"])
def test_miou_equals_the_official_script(tmp_path, classes):
    rng = np.random.default_rng(0)
    ids = np.flatnonzero((LABEL_TABLES["cityscapes_ids"] < classes) | (LABEL_TABLES["cityscapes_ids"] == 255))
    samples, predictions, truths = [], [], []
    for i in range(3):
        truth = rng.choice(ids, (40, 60)).astype(np.uint8)
        train_ids = LABEL_TABLES["cityscapes_ids"][truth]
        guess = rng.integers(0, classes, truth.shape)
        guess = np.where((rng.random(truth.shape) < 0.6) & (train_ids != 255), train_ids, guess)
        samples.append(("cityscapes", guess, train_ids))
        predictions.append(str(tmp_path / f"prediction_{i}.png"))
        truths.append(str(tmp_path / f"{i}_gtFine_labelIds.png"))
        Image.fromarray(truth).save(truths[-1])
        to_id = np.array([trainId2label[t].id for t in range(19)], np.uint8)
        Image.fromarray(to_id[guess]).save(predictions[-1])

    settings = {**vars(official.args), "quiet": True, "JSONOutput": False, "evalInstLevelScore": False}
    expected = official.evaluateImgLists(predictions, truths, SimpleNamespace(**settings))["averageScoreClasses"]
    metrics = evaluate(samples)
    assert 0.2 < expected < 0.9
    assert metrics["mIoU"] / 100 == pytest.approx(expected, abs=1e-9)
    assert metrics["cityscapes/mIoU"] == metrics["mIoU"]


def test_mean_over_targets_weighs_targets_not_images():
    truth = np.tile(np.arange(19), (19, 1))
    wrong = np.roll(truth, 1, axis=1)
    metrics = evaluate([("a", truth, truth), ("b", wrong, truth), ("b", wrong, truth), ("b", wrong, truth)])
    assert metrics["a/mIoU"] == 100
    assert metrics["b/mIoU"] == 0
    assert metrics["mIoU"] == 50
    assert metrics["a/aAcc"] == 100


def test_counts_beyond_float32_are_exact():
    """One pixel more than 2^24 of a class: float32 would drop it."""
    metric = DomainIoUMetric()
    metric.dataset_meta = CityscapesDataset.METAINFO
    areas = [torch.zeros(19).double() for _ in range(4)]
    for area in areas:
        area[0] = 2**24
    one_wrong = DomainIoUMetric.intersect_and_union(torch.tensor([1]), torch.tensor([0]), 19, 255)
    metrics = metric.compute_metrics([("a", areas), ("a", one_wrong)])
    assert metrics["mIoU"] == pytest.approx(100 * (2**24 / (2**24 + 1)) / 2, abs=1e-12)


def test_sample_without_domain_says_what_to_set():
    with pytest.raises(ValueError, match=r"PackSegInputs\(meta_keys"):
        DomainIoUMetric().process({}, [{"img_path": "a.png"}])
