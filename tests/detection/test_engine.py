"""Evaluation against pycocotools, what a training refuses, and the logs of the detection project."""

import contextlib
import io
import json

import numpy as np
import pytest
import torch

pytest.importorskip("detectron2")
import gcisg_det  # noqa: F401  repairs Detectron2 0.5 before it is imported

# isort: split
from detectron2.data import MetadataCatalog, get_detection_dataset_dicts
from detectron2.structures import Boxes, Instances
from detectron2.utils.logger import setup_logger
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval

from gcisg_det.coco_evaluator import BoxEvaluator
from gcisg_det.engine import Trainer, end_earlier_logs
from tests.detection.scenes import (
    framework_log,
    tiny_config,
)


def test_wrong_class_count_and_batch_size_are_refused(root):
    with pytest.raises(ValueError, match=r"MODEL.ROI_HEADS.NUM_CLASSES is 80, but sim10k_trainval_car has 1: car"):
        Trainer.build_train_loader(tiny_config(root, root / "out", "MODEL.ROI_HEADS.NUM_CLASSES", 80))
    with pytest.raises(ValueError, match=r"SOLVER.IMS_PER_BATCH is 0"):
        Trainer.build_train_loader(tiny_config(root, root / "out", "SOLVER.IMS_PER_BATCH", 0))


def predictions(records):
    """Two fixed boxes an image: a shifted truth (or a corner) and a false alarm."""
    rng = np.random.default_rng(3)
    for record in records:
        truth = [annotation["bbox"] for annotation in record["annotations"]][:1] or [(0, 0, 9, 9)]
        box = np.asarray(truth[0], dtype=float) + rng.uniform(-2, 2, 4)
        instances = Instances((record["height"], record["width"]))
        instances.pred_boxes = Boxes(torch.tensor(np.stack([box, [60, 5, 90, 25]]), dtype=torch.float32))
        instances.scores = torch.tensor(rng.uniform(0.2, 1, 2))
        instances.pred_classes = torch.tensor([0, 0])
        yield record, instances


@pytest.mark.parametrize("convention", ["coco", "da_faster"])
def test_evaluator_equals_pycocotools(root, convention, caplog):
    tiny_config(root, root / "out")
    name = f"cityscapes_val_car_{convention}"
    records = get_detection_dataset_dicts([name], filter_empty=False)
    evaluator = BoxEvaluator(name, str(root / "out"))
    evaluator.reset()
    truth = {"images": [], "annotations": [], "categories": [{"id": 0, "name": "car"}]}
    found = []
    for record, instances in predictions(records):
        evaluator.process([record], [{"instances": instances}])
        key = {"image_id": record["image_id"], "category_id": 0}
        truth["images"].append({"id": record["image_id"], "width": record["width"], "height": record["height"]})
        for box, score in zip(instances.pred_boxes.tensor.tolist(), instances.scores.tolist(), strict=True):
            found.append({**key, "bbox": [*box[:2], box[2] - box[0], box[3] - box[1]], "score": score})
        for annotation in record["annotations"]:
            x1, y1, x2, y2 = annotation["bbox"]
            size = {"bbox": [x1, y1, x2 - x1, y2 - y1], "area": (x2 - x1) * (y2 - y1)}
            number = len(truth["annotations"]) + 1
            truth["annotations"].append({**key, **size, "id": number, "iscrowd": annotation["iscrowd"]})
    with framework_log(caplog):
        results = evaluator.evaluate()
    with contextlib.redirect_stdout(io.StringIO()):
        api = COCO()
        api.dataset = {**truth, "info": {}}
        api.createIndex()
        official = COCOeval(api, api.loadRes(found), "bbox")
        official.evaluate()
        official.accumulate()
        official.summarize()
    ours = [results["bbox"][key] for key in ("AP", "AP50", "AP75")]
    assert ours == pytest.approx(100 * official.stats[:3], abs=1e-9)
    assert 0 < ours[0] < ours[1] < 100
    assert f"{name}, box convention {convention}, bbox: AP {ours[0]:.2f}, AP50 {ours[1]:.2f}" in caplog.text
    written = json.loads((root / "out/results.json").read_text())
    assert (written["convention"], written["results"]["bbox"]["AP"]) == (convention, ours[0])
    converted = json.loads((root / f"out/{name}_coco_format.json").read_text())
    assert len(converted["images"]) == 3
    crowds = [annotation["iscrowd"] for annotation in converted["annotations"]]
    assert crowds == ([0, 0, 1, 1, 0] if convention == "coco" else [0, 0, 0, 0])


def test_ground_truth_is_converted_anew_when_data_or_folder_changed(root):
    tiny_config(root, root / "out")
    BoxEvaluator("cityscapes_val_car_coco", str(root / "first"))
    file = next((root / "cityscapes/gtFine").glob("val/*/*_000000_*.json"))
    file.write_text(file.read_text().replace('"car"', '"road"'))
    for folder in ("first", "second"):
        BoxEvaluator("cityscapes_val_car_coco", str(root / folder))
        converted = json.loads((root / folder / "cityscapes_val_car_coco_coco_format.json").read_text())
        assert len(converted["annotations"]) == 3
    assert str(root / "second") in MetadataCatalog.get("cityscapes_val_car_coco").json_file


def test_second_run_of_a_process_logs_each_line_once(tmp_path, capsys):
    for run in ("first", "second"):
        end_earlier_logs()
        log = setup_logger(str(tmp_path / run))
        log.info("a line of the %s run", run)
    end_earlier_logs()
    assert capsys.readouterr().out.count("a line of the second run") == 1
    assert "second" not in (tmp_path / "first/log.txt").read_text()
