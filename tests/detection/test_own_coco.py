"""Own COCO files from training to the evaluation: what other programs write gives the AP that it should."""

import json

import pytest

pytest.importorskip("detectron2")
import torch

import gcisg_det  # noqa: F401  repairs Detectron2 0.5 before it is imported

# isort: split
from detectron2.data import DatasetCatalog, MetadataCatalog
from detectron2.structures import Boxes, BoxMode, Instances

from gcisg_core.problems import DataError
from gcisg_det.coco_evaluator import BoxEvaluator
from gcisg_det.datasets import class_ids, setup_datasets
from gcisg_det.model_metrics import _task
from tests.coco.files import REPAIRS, categories, make
from tests.detection.own_coco import NAMES, config, strict, write
from tests.detection.scenes import framework_log


@pytest.fixture
def folder(tmp_path):
    """Two files of three boxes each."""
    for name in ("synthetic", "real"):
        write(tmp_path, make(), name)
    return tmp_path


def evaluate(folder, found=lambda label: True):
    """The result of a detector that finds exactly the boxes whose label `found` accepts."""
    evaluator = BoxEvaluator("real", str(folder / "out"))
    evaluator.reset()
    for record in DatasetCatalog.get("real"):
        items = [item for item in record["annotations"] if found(item["category_id"])]
        boxes = [BoxMode.convert(item["bbox"], BoxMode.XYWH_ABS, BoxMode.XYXY_ABS) for item in items]
        result = Instances((record["height"], record["width"]))
        result.pred_boxes = Boxes(torch.tensor(boxes, dtype=torch.float).reshape(-1, 4))
        result.scores = torch.ones(len(items))
        result.pred_classes = torch.tensor([item["category_id"] for item in items], dtype=torch.long)
        evaluator.process([record], [{"instances": result}])
    return evaluator.evaluate()["bbox"], strict(folder / "out/results.json")


@pytest.mark.parametrize("case", REPAIRS)
def test_perfect_boxes_have_an_ap_of_100_however_the_file_is_written(folder, case):
    content = make()
    REPAIRS[case][0](content)
    write(folder, content, "real")
    config(folder)
    box, written = evaluate(folder)
    assert (box["AP"], box["AP-cup"], box["AP-box"]) == pytest.approx((100, 100, 100))
    assert written["results"]["bbox"]["AP"] == box["AP"]


def test_training_evaluation_and_analysis_share_one_object(folder, caplog):
    content = make()
    for item in content["annotations"]:
        del item["area"]
    write(folder, content, "real")
    config(folder)
    with framework_log(caplog):
        own = MetadataCatalog.get("real").own
        assert own.read() is own.read()
        records = DatasetCatalog.get("real")
        BoxEvaluator("real", str(folder / "out"))
    truth = strict(folder / "out/real_coco_format.json")
    assert [item["bbox"] for record in records for item in record["annotations"]] == [
        item["bbox"] for item in truth["annotations"]
    ]
    line = "annotations without `area`, taken as width times height: 3"
    assert len({id(record) for record in caplog.records if line in record.getMessage()}) == 1
    content["annotations"].pop()
    write(folder, content, "real")
    assert len(own.read().annotations) == 2  # a file that changed is read again


class TestClasses:
    @pytest.mark.parametrize("numbers", [{1: 2, 2: 1}, {1: 0, 2: -3}, {1: "b", 2: "a"}])
    def test_labels_are_matched_by_name(self, folder, numbers):
        content = make()
        categories(lambda number: numbers[number])(content)
        write(folder, content, "real")
        cfg = config(folder)
        DatasetCatalog.get("synthetic")
        box, _ = evaluate(folder, lambda label: label == NAMES.index("box"))
        assert MetadataCatalog.get("real").thing_classes == MetadataCatalog.get("synthetic").thing_classes == NAMES
        assert (box["AP-box"], box["AP-cup"], box["AP"]) == pytest.approx((100, 0, 50))
        assert class_ids(cfg) == {"cup": 1, "box": 2}

    def test_the_order_is_that_of_the_training_file_in_the_analysis_of_another_too(self, folder):
        content = make()
        categories(lambda number: 3 - number)(content)
        write(folder, content, "other")
        from gcisg_det.selection import source_config

        cfg = source_config(config(folder), str(folder / "other/own.json"))
        setup_datasets(cfg)
        DatasetCatalog.get("source_validation")
        assert MetadataCatalog.get("source_validation").thing_classes == NAMES

    def test_without_the_training_file_the_order_is_the_files_own_and_that_is_said(self, folder, caplog):
        (folder / "synthetic/own.json").unlink()
        config(folder)
        with framework_log(caplog):
            DatasetCatalog.get("real")
        assert "labels follow its own categories, as" in caplog.text

    def test_an_absent_class_is_named_and_has_no_ap(self, folder, caplog):
        content = make()
        content["annotations"] = [item for item in content["annotations"] if item["category_id"] == 2]
        content["categories"] = [{"id": 4, "name": "box"}]
        for item in content["annotations"]:
            item["category_id"] = 4
        write(folder, content, "real")
        config(folder)
        with framework_log(caplog):
            box, written = evaluate(folder)
        assert "AP-cup" not in box
        assert (box["AP"], box["AP-box"]) == pytest.approx((100, 100))
        assert written["absent_classes"] == ["cup"]
        assert written["results"]["bbox"]["AP-cup"] is None
        assert "real has no box of cup, so there is no AP for it." in caplog.text
        values, per_class = _task(box, NAMES)
        assert values["AP"] == pytest.approx(100)
        assert per_class["cup"]["AP"] == "no box of this kind in the truth"


def test_a_detector_that_finds_nothing_has_an_ap_of_0(folder):
    config(folder)
    box, written = evaluate(folder, lambda label: False)
    assert {key: box[key] for key in ("AP", "AP50", "AP75", "AP-cup", "AP-box")} == dict.fromkeys(
        ("AP", "AP50", "AP75", "AP-cup", "AP-box"), 0.0
    )
    assert written["results"]["bbox"]["APl"] is None  # no box is that large
    assert "APl" not in box


@pytest.mark.remedy("Name the images' folder in DATASETS.COCO: {}. {}")
def test_the_folder_that_file_names_start_from_is_named_where_it_is_above(folder):
    for image in (content := make())["images"]:
        image["file_name"] = f"real/{image['file_name']}"
    (folder / "real/own.json").write_text(json.dumps(content))
    config(folder)
    with pytest.raises(DataError, match=rf"Name the images' folder in DATASETS.COCO: {folder}\. In training"):
        DatasetCatalog.get("real")
    config(folder, "DATASETS.COCO", [["real", str(folder / "real/own.json"), str(folder)]], "DATASETS.TRAIN", ("real",))
    assert len(DatasetCatalog.get("real")) == 3


@pytest.mark.parametrize("found", [True, False])
def test_without_any_box_there_is_no_ap(folder, found):
    write(folder, {**make(), "annotations": []}, "real")
    config(folder)
    box, written = evaluate(folder, lambda label: found)
    assert box == {}
    assert written["absent_classes"] == NAMES
    assert set(written["results"]["bbox"].values()) == {None}
