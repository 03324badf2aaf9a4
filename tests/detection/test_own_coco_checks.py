"""What a training on COCO files of your own checks before its first step, continues without, and ends with."""

import json

import pytest

pytest.importorskip("detectron2")

import gcisg_det  # noqa: F401  repairs Detectron2 0.5 before it is imported

# isort: split
from detectron2.data import DatasetCatalog

from gcisg_core.problems import DataError
from gcisg_det.engine import Trainer
from tests.coco.files import make
from tests.detection.own_coco import config, strict, write
from tests.detection.scenes import PROJECT, TINY, framework_log, picture, train
from tests.documents import run


@pytest.fixture
def folder(tmp_path):
    """Two files of three boxes each."""
    for name in ("synthetic", "real"):
        write(tmp_path, make(), name)
    return tmp_path


def broken(change):
    content = make()
    change(content)
    return content


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda c: c["annotations"][0].update(iscrowd="x"), "own.json: `iscrowd` that is neither 0 nor 1"),
        (lambda c: c["images"][1].update(id=1), "own.json: ids shared by several images"),
        (
            lambda c: c["categories"][1].update(name="Box"),
            "own.json: the category 'Box' is not one of the classes trained",
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
        DataError, match=r"1 of 3 images are missing.* In training, INPUT.ON_BAD_SAMPLE skip leaves them out"
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


@pytest.mark.remedy("DATASETS.TRAIN is empty, name the data to train on")
def test_a_training_without_data_is_refused(folder):
    with pytest.raises(ValueError, match="DATASETS.TRAIN is empty, name the data to train on"):
        Trainer.build_train_loader(config(folder, "DATASETS.TRAIN", ()))
    Trainer.build_train_loader(config(folder, "DATASETS.TRAIN", ("synthetic",)))


@pytest.mark.remedy('Set INPUT.MASK_FORMAT: "bitmask"')
def test_masks_as_run_lengths(folder):
    rle = {"size": [64, 96], "counts": [10, 20, 64 * 96 - 30]}
    write(folder, broken(lambda c: c["annotations"][0].update(segmentation=rle)), "synthetic")
    masks = ["MODEL.MASK_ON", True]
    with pytest.raises(DataError, match='Set INPUT.MASK_FORMAT: "bitmask"'):
        Trainer.build_train_loader(config(folder, *masks))
    Trainer.build_train_loader(config(folder, *masks, "INPUT.MASK_FORMAT", "bitmask"))


@pytest.mark.remedy('Write "keypoints": ["nose", "left_eye", ...] into the category, or MODEL.KEYPOINT_ON False')
def test_categories_without_keypoints(folder):
    on = ["MODEL.PARENT_ARCHITECTURE", "GeneralizedRCNN", "MODEL.KEYPOINT_ON", True]
    on += ["MODEL.ROI_KEYPOINT_HEAD.NUM_KEYPOINTS", 1, "TEST.KEYPOINT_OKS_SIGMAS", [0.1]]
    with pytest.raises(
        DataError, match="`categories` name no keypoints. Write .keypoints.: .* MODEL.KEYPOINT_ON False"
    ):
        config(folder, *on)
    config(folder, "MODEL.KEYPOINT_ON", False)
    for name in ("synthetic", "real"):
        write(folder, broken(lambda c: [item.update(keypoints=["nose"]) for item in c["categories"]]), name)
    config(folder, *on)


@pytest.mark.remedy("Write iscrowd 0 for single objects")
def test_a_training_file_of_groups_alone_is_refused(folder):
    write(folder, broken(lambda c: [item.update(iscrowd=1) for item in c["annotations"]]), "synthetic")
    with pytest.raises(DataError, match=r"all 3 are iscrowd 1, .* Write iscrowd 0 for single objects"):
        Trainer.build_train_loader(config(folder))
    write(folder, make(), "synthetic")
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
    assert "real (own boxes): no AP: the test data have no box" in capsys.readouterr().out


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
