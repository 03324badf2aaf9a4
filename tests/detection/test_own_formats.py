"""Own data in the formats that `DATASETS.OWN` and `DATASETS.COCO` read: entries, faults, data that are elsewhere."""

import json

import pytest

pytest.importorskip("detectron2")
import gcisg_det  # noqa: F401  repairs Detectron2 0.5 before it is imported

# isort: split
from detectron2.data import DatasetCatalog, MetadataCatalog

from gcisg_core.problems import DataError
from gcisg_det.config import add_detection_config, read_config
from gcisg_det.datasets import cityscapes, class_ids, setup_datasets
from gcisg_det.datasets.formats import FORMATS, Format
from tests.detection.scenes import (
    SCENES,
    make_cityscapes,
    picture,
)


def write_coco(tmp_path):
    picture(0).save(tmp_path / "a.png")
    content = {
        "images": [{"id": 5, "file_name": "a.png", "width": 128, "height": 96}],
        "annotations": [{"id": 1, "image_id": 5, "category_id": 7, "bbox": [1, 2, 3, 4], "area": 12, "iscrowd": 0}],
        "categories": [{"id": 7, "name": "van"}],
    }
    (tmp_path / "own.json").write_text(json.dumps(content))
    return content


def own_config(tmp_path):
    text = f'DATASETS:\n  COCO: [["mine", "{tmp_path}/own.json", "{tmp_path}"]]\n  TRAIN: ("mine",)\n'
    (tmp_path / "own.yaml").write_text(text)
    cfg = read_config(tmp_path / "own.yaml")
    setup_datasets(cfg)
    return cfg


def test_own_coco_data_in_two_lines_of_config(tmp_path):
    write_coco(tmp_path)
    cfg = own_config(tmp_path)
    records = DatasetCatalog.get(cfg.DATASETS.TRAIN[0])
    assert records[0]["annotations"][0]["bbox"] == [1, 2, 3, 4]
    assert MetadataCatalog.get("mine").thing_classes == ["van"]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda c: c.pop("categories"), "own.json: `categories` is missing, expected a list"),
        (
            lambda c: c["annotations"][0].update(category_id=9),
            "own.json: annotations whose category is not listed: 1, such as annotation 1: category_id 9",
        ),
        (
            lambda c: c["images"][0].update(file_name="b.png"),
            "b.png: is listed in .*own.json but does not exist; 1 of 1 images",
        ),
    ],
)
def test_broken_own_data_is_named(tmp_path, change, message):
    content = write_coco(tmp_path)
    change(content)
    (tmp_path / "own.json").write_text(json.dumps(content))
    own_config(tmp_path)
    with pytest.raises(DataError, match=message):
        DatasetCatalog.get("mine")


def test_own_data_entry_of_wrong_form_is_refused(tmp_path):
    from detectron2.config import get_cfg

    cfg = get_cfg()
    add_detection_config(cfg)
    cfg.DATASETS.COCO = [["mine", "own.json"]]
    with pytest.raises(ValueError, match=r"expected .name, json file, image folder"):
        setup_datasets(cfg)


def test_a_format_reads_data_anywhere(tmp_path):
    folder = make_cityscapes(tmp_path, SCENES)
    cfg = read_config(write_own(tmp_path, ["mine", "cityscapes", str(folder), "val", "coco"]))
    setup_datasets(cfg)
    records = DatasetCatalog.get("mine")
    assert records == cityscapes.load_cityscapes_cars(folder)
    assert MetadataCatalog.get("mine").thing_classes == ["car"]
    assert class_ids(cfg) == {"car": 0}


@pytest.mark.parametrize(
    ("entry", "message"),
    [
        (["mine", "cityscape", "x", "val", "coco"], "unknown format in DATASETS.OWN 'cityscape'. Did you mean"),
        (["mine", "cityscapes", "x"], "expected .name, format, folder, split, convention"),
        (["mine"], "expected .name, format, the format's fields"),
        (["mine", "sim10k", 1, 2], "expected .name, format, the format's fields"),
    ],
)
def test_an_entry_that_its_format_does_not_take_is_refused(tmp_path, entry, message):
    cfg = read_config(write_own(tmp_path, entry))
    with pytest.raises(ValueError, match=message):
        setup_datasets(cfg)


def test_data_that_are_not_here_are_named_when_they_are_read(tmp_path, monkeypatch):
    def absent(folder):
        raise DataError(folder, "is not there", "Fetch it")

    monkeypatch.setitem(FORMATS, "absent", Format(("folder",), absent, absent))
    cfg = read_config(write_own(tmp_path, ["mine", "absent", "nowhere"]))
    setup_datasets(cfg)
    assert class_ids(cfg) == {}
    with pytest.raises(DataError, match="nowhere: is not there"):
        DatasetCatalog.get("mine")


def write_own(tmp_path, entry):
    file = tmp_path / "format.yaml"
    file.write_text(json.dumps({"DATASETS": {"OWN": [entry], "TRAIN": ["mine"]}}))
    return file
