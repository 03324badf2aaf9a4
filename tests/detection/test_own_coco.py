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
from gcisg_det.config import read_config
from gcisg_det.datasets import class_ids, setup_datasets
from gcisg_det.engine import Trainer
from gcisg_det.model_metrics import _task
from tests.coco.files import REPAIRS, categories, make
from tests.detection.scenes import PROJECT, TINY, framework_log, picture, train
from tests.documents import run

SIZE = (96, 64)
NAMES = ["cup", "box"]


def write(folder, content, name):
    (folder / name).mkdir(exist_ok=True)
    for image in content["images"]:
        if image.get("file_name"):
            picture(len(image["file_name"]), size=SIZE).save(folder / name / image["file_name"].replace("\\", "/"))
    (folder / name / "own.json").write_text(json.dumps(content))


def config(folder, *overrides, sets=("synthetic", "real")):
    files = [[name, str(folder / name / "own.json"), str(folder / name)] for name in sets]
    settings = [*TINY, "MODEL.ROI_HEADS.NUM_CLASSES", 2, "DATASETS.COCO", files, "DATASETS.TRAIN", ("synthetic",)]
    settings += [
        "DATASETS.TEST",
        ("real",),
        "OUTPUT_DIR",
        str(folder / "run"),
        "SOLVER.MAX_ITER",
        2,
        "SOLVER.STEPS",
        (),
    ]
    cfg = read_config(PROJECT / "baseline_r50_fpn.yaml", [*settings, *overrides])
    setup_datasets(cfg)
    return cfg


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


def strict(file):
    """JSON that holds no NaN."""

    def refuse(constant):
        raise AssertionError(f"{file} holds {constant}")

    return json.loads(file.read_text(), parse_constant=refuse)


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
        assert "real has no box of cup: there is no AP." in caplog.text
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


def test_the_folder_that_file_names_start_from_is_named_where_it_is_above(folder):
    for image in (content := make())["images"]:
        image["file_name"] = f"real/{image['file_name']}"
    (folder / "real/own.json").write_text(json.dumps(content))
    config(folder)
    with pytest.raises(DataError, match=rf"Name the images' folder in DATASETS.COCO: {folder}$"):
        DatasetCatalog.get("real")


@pytest.mark.parametrize("found", [True, False])
def test_without_any_box_there_is_no_ap(folder, found):
    write(folder, {**make(), "annotations": []}, "real")
    config(folder)
    box, written = evaluate(folder, lambda label: found)
    assert box == {}
    assert written["absent_classes"] == NAMES
    assert set(written["results"]["bbox"].values()) == {None}


def broken(change):
    content = make()
    change(content)
    return content


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda c: c["annotations"][0].update(iscrowd="x"), "own.json: `iscrowd` of another value"),
        (lambda c: c["images"][1].update(id=1), "own.json: ids of several images"),
        (
            lambda c: c["categories"][1].update(name="Box"),
            "own.json: the category 'Box' is none of the classes trained",
        ),
        (lambda c: c.pop("annotations"), "own.json: `annotations` is missing"),
    ],
)
def test_what_the_evaluation_needs_is_checked_before_the_first_step(folder, change, message):
    write(folder, broken(change), "real")
    cfg = config(folder)
    with pytest.raises(DataError, match=message):
        Trainer.build_train_loader(cfg)


def test_an_image_of_the_evaluation_that_is_missing_is_named_before_the_first_step(folder):
    cfg = config(folder)
    (folder / "real/2.png").unlink()
    with pytest.raises(DataError, match=r"2.png: is listed in .* but does not exist; 1 of 3 images are missing"):
        Trainer.build_train_loader(cfg)


def test_training_goes_on_without_absent_images_where_told(folder, caplog):
    (folder / "synthetic/2.png").unlink()
    with pytest.raises(
        DataError, match=r"1 of 3 images are missing.* In training, INPUT.ON_BAD_SAMPLE skip does without"
    ):
        Trainer.build_train_loader(config(folder))
    with framework_log(caplog):
        records = DatasetCatalog.get(config(folder, "INPUT.ON_BAD_SAMPLE", "skip").DATASETS.TRAIN[0])
    assert [record["file_name"][-5:] for record in records] == ["1.png", "3.png"]
    assert "Skipped: 1 images of" in caplog.text
    (folder / "real/2.png").unlink()
    with pytest.raises(DataError, match=r"real/2.png: is listed in"):  # an evaluation never skips
        Trainer.build_train_loader(config(folder, "INPUT.ON_BAD_SAMPLE", "skip"))
    for path in (folder / "synthetic").glob("*.png"):
        path.unlink()
    (folder / "synthetic/own.json").touch()  # a file that did not change is read once
    with pytest.raises(DataError, match="3 of 3 images are missing"):
        Trainer.build_train_loader(config(folder, "INPUT.ON_BAD_SAMPLE", "skip"))


@pytest.mark.parametrize("size", [(64, 96), (96, 60), None])
def test_an_image_of_another_size_or_none_is_named_before_the_first_step(folder, size):
    cfg = config(folder)
    if size:
        picture(1, size=size).save(folder / "real/2.png")
    else:
        (folder / "real/2.png").write_bytes(b"no image")
    message = rf"2.png: is {size[0]} x {size[1]} pixels, .* says 96 x 64" if size else "2.png: not a readable image"
    with pytest.raises(DataError, match=message):
        Trainer.build_train_loader(cfg)


def test_a_training_file_of_groups_alone_is_refused(folder):
    write(folder, broken(lambda c: [item.update(iscrowd=1) for item in c["annotations"]]), "synthetic")
    with pytest.raises(DataError, match=r"has no box to train on: all 3 are iscrowd 1"):
        Trainer.build_train_loader(config(folder))
    write(folder, {**make(), "annotations": []}, "synthetic")
    with pytest.raises(DataError, match=r"has no box to train on: none is usable"):
        Trainer.build_train_loader(config(folder))


def test_a_box_without_a_mask_is_kept_where_there_is_no_mask_head(folder):
    write(folder, broken(lambda c: c["annotations"][0].update(segmentation=[[5, 4, 41, 34]])), "synthetic")
    config(folder)
    assert [len(record["annotations"]) for record in DatasetCatalog.get("synthetic")] == [1, 1, 1]
    config(folder, "MODEL.MASK_ON", True)
    records = DatasetCatalog.get("synthetic")
    assert [len(record["annotations"]) for record in records] == [0, 1, 1]
    assert all("segmentation" in item for record in records for item in record["annotations"])


def test_a_training_whose_test_images_have_no_box_ends_well_and_says_so(folder, capsys):
    write(folder, {**make(), "annotations": []}, "real")
    settings = [*TINY, "MODEL.ROI_HEADS.NUM_CLASSES", 2, "SOLVER.MAX_ITER", 2, "SOLVER.STEPS", ()]
    text = f'''\
_BASE_: "{PROJECT / "baseline_r50_fpn.yaml"}"
DATASETS:
  COCO: [["synthetic", "{folder}/synthetic/own.json", "{folder}/synthetic"],
         ["real", "{folder}/real/own.json", "{folder}/real"]]
  TRAIN: ("synthetic",)
  TEST: ("real",)
'''
    (folder / "mine.yaml").write_text(text)
    work_dir = ["--work-dir", str(folder / "run")]
    assert run(f"python tools/train_net.py --config {folder}/mine.yaml", *work_dir, *map(str, settings)) == 0
    assert "real (own boxes): no AP, as there is no box" in capsys.readouterr().out


def test_a_training_on_such_files_ends_with_valid_json(folder):
    content = make()
    for item in content["annotations"]:
        item["bbox"] = str(item["bbox"])
        for field in ("area", "iscrowd", "segmentation", "id"):
            del item[field]
    write(folder, content, "synthetic")
    write(folder, {**content, "annotations": content["annotations"][:1]}, "real")
    train(config(folder))
    files = [folder / "run/metrics.json", *(folder / "run/inference/real").glob("*.json")]
    assert {file.name for file in files} == {
        "metrics.json", "results.json", "real_coco_format.json", "coco_instances_results.json"
    }  # fmt: skip
    for file in files[1:]:
        strict(file)
    assert "NaN" not in files[0].read_text()
    last = json.loads(files[0].read_text().splitlines()[-1])
    assert "real/bbox/AP" in last
    assert "real/bbox/AP-cup" not in last  # no box in the truth
