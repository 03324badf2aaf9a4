"""`gcisg new-project` on folders as other programs write them, up to what training reads."""

import json
import re
import shutil
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from gcisg_suite.cli import main
from gcisg_suite.coco.load import load_coco
from tests.formats import folders
from tests.formats.folders import BOXES, NAMES

# Maker -> the format that is recognised.
BOX_FORMATS = {
    "yolo": "yolo", "yolo_outlines": "yolo", "voc": "voc", "kitti": "kitti", "coco": "coco", "blenderproc": "coco",
    "hdf5": "hdf5", "replicator": "replicator", "solo": "solo", "objects": "objects", "kaggle_objects": "objects",
    "bdd100k": "bdd100k", "bdd100k_2018": "bdd100k", "bdd100k_files": "bdd100k", "shift": "shift",
    "cityscapes": "cityscapes", "foggy_cityscapes": "foggy-cityscapes", "acdc_boxes": "coco",
}  # fmt: skip
MASK_FORMATS = {
    "yolo_outlines": "yolo", "blenderproc": "coco", "hdf5": "hdf5", "replicator": "replicator", "solo": "solo",
    "objects": "objects", "carla": "carla", "shift": "shift", "cityscapes": "cityscapes",
    "foggy_cityscapes": "foggy-cityscapes", "acdc": "acdc", "bdd100k_masks": "bdd100k", "bdd100k_seg": "bdd100k-seg",
    "mapillary": "mapillary", "synthia": "synthia",
}  # fmt: skip
STREETS = ("carla", "shift", "cityscapes", "foggy_cityscapes", "acdc", "bdd100k_masks", "bdd100k_seg", "mapillary",
           "synthia")  # fmt: skip


@pytest.fixture
def here(tmp_path, monkeypatch):
    """A folder with a space in its name, in which commands run."""
    (tmp_path / "my data").mkdir()
    monkeypatch.chdir(tmp_path / "my data")
    return Path()


def new_project(task, *more):
    command = ["new-project", "--task", task, "--synthetic", "syn", "--real", "real", "--output", "out"]
    try:
        main([*command, "--workers", "1", *more])
    except SystemExit as end:
        if isinstance(end.code, str):
            print(end.code, file=sys.stderr)
            return 1
        return end.code or 0
    return 0


def make(maker):
    for name in ("syn", "real"):
        getattr(folders, maker)(Path(name))


def read_entries(name):
    """The COCO file and folder of a data set in the written config, as training reads them."""
    import yaml

    lines = Path("out/baseline.yaml").read_text().split("\n", 1)[1]
    ((_, file, root),) = [entry for entry in yaml.safe_load(lines)["DATASETS"]["COCO"] if entry[0] == name]
    return load_coco(file, root), Path(root)


@pytest.mark.parametrize("maker", BOX_FORMATS)
def test_boxes_reach_training(maker, here, capsys):
    make(maker)
    assert new_project("detection") == 0, capsys.readouterr().out
    output = capsys.readouterr().out
    for name in ("synthetic", "real"):
        data, root = read_entries(name)
        expected = {"kaggle_objects": ["object"], "yolo_outlines": ["car"]}.get(maker, NAMES)
        assert sorted(data.classes) == expected
        assert data.images
        assert all((root / item["file_name"]).is_file() for item in data.images)
        names = {item["id"]: item["name"] for item in data.categories}
        found = sorted((names[item["category_id"]], *item["bbox"]) for item in data.annotations)
        with_boxes = len(data.images) - (maker == "yolo_outlines")
        boxes = [(name, x1, y1, x2 - x1, y2 - y1) for name, (x1, y1, x2, y2) in BOXES.items()]
        if maker == "kaggle_objects":
            boxes = [("object", *box[1:]) for box in boxes]
        boxes = [box for box in boxes if box[0] in expected]
        assert np.allclose([box[1:] for box in found], [box[1:] for box in sorted(boxes * with_boxes)], atol=1e-3)
    if maker in ("voc", "cityscapes", "foggy_cityscapes"):  # one of the training part is difficult, or a group
        assert sum(item["iscrowd"] for item in read_entries("synthetic")[0].annotations) == 1
    if "out/data" in output:
        assert f"real: real read as {BOX_FORMATS[maker]}: " in output


@pytest.mark.parametrize("maker", MASK_FORMATS)
def test_masks_reach_training(maker, here, capsys):
    from mmengine.config import Config
    from mmengine.registry import init_default_scope
    from mmseg.registry import DATASETS

    import gcisg_seg.registry  # noqa: F401

    make(maker)
    assert new_project("segmentation") == 0, capsys.readouterr().out
    assert f"synthetic: syn read as {MASK_FORMATS[maker]}: " in capsys.readouterr().out
    config = Config.fromfile("out/baseline.py")
    init_default_scope("mmseg")
    for data in (config.train_dataloader.dataset.dataset, config.val_dataloader.dataset):
        load = [{"type": "LoadCheckedImage"}, {"type": "LoadClassLabels"}]
        dataset = DATASETS.build({**data, "pipeline": load})
        assert len(dataset) >= 2
        classes = dataset.metainfo["classes"]
        wanted = ["1", "2"] if maker == "hdf5" else NAMES
        car, person = (classes.index(name) if name in classes else 0 for name in wanted)
        item = dataset[0]
        values = item["gt_seg_map"]
        assert item["img"].shape[:2] == values.shape == (64, 96)
        assert classes[0] == ("road" if maker in STREETS else "background")
        assert car
        outline = np.ones_like(values) if maker != "yolo_outlines" else folders.painted({}, 1)
        if maker == "yolo_outlines":  # drawn with its border
            outline[18:52, 8:52] = 0
            assert values[35, 30] == car
        assert np.array_equal(values[outline > 0], folders.painted({"car": car, "person": person})[outline > 0])


def test_what_is_left_out_is_counted_in_the_line(here, capsys):
    make("kitti")
    Path("classes.txt").write_text("car\n")
    assert new_project("detection", "--classes", "classes.txt") == 0
    line = capsys.readouterr().out.splitlines()[0]
    counts = "3 images, 3 boxes of car -> out/data/synthetic.json; left out: 3 regions DontCare, "
    assert counts + "3 boxes of person, which are none of the classes" in line
    content = json.loads(Path("out/data/real.json").read_text())
    assert [item["name"] for item in content["categories"]] == ["car"]


def test_a_second_run_replaces_what_was_converted_and_nothing_else(here):
    make("solo")
    before = sorted((path, path.read_bytes()) for path in Path("real").rglob("*") if path.is_file())
    assert new_project("segmentation") == 0
    shutil.rmtree("syn/sequence.2")
    assert new_project("segmentation") == 0
    assert Path("out/data/synthetic/images.txt").read_text().split() == [
        "sequence.0/step0.camera", "sequence.1/step0.camera"
    ]  # fmt: skip
    assert len([*Path("out/data/synthetic/labels").rglob("*.png")]) == 2
    assert before == sorted((path, path.read_bytes()) for path in Path("real").rglob("*") if path.is_file())


def test_formats_of_both_folders_may_differ_and_can_be_named(here, capsys):
    folders.carla(Path("syn"))
    folders.cityscapes(Path("real"))
    more = ["--format", "synthetic=carla", "real=cityscapes"]
    assert new_project("segmentation", *more) == 0
    assert "note: out/data/synthetic/labels: class 'train' (value 16) has no pixel" in capsys.readouterr().out
    assert new_project("segmentation", "--format", "syn=carla") == 2
    assert "--format syn=carla: expected NAME, synthetic=NAME or real=NAME" in capsys.readouterr().err
    assert new_project("segmentation", "--format", "carl") == 1
    assert "unknown format 'carl'. Did you mean 'carla'?" in capsys.readouterr().err


def test_tags_that_do_not_tell_the_version_are_asked_about(here, capsys):
    make("carla")
    for path in Path("syn/semantic").iterdir():
        label = np.array(Image.open(path))
        label[label[..., 0] == 24, 0] = 7
        Image.fromarray(label).save(path)
    assert new_project("segmentation") == 1
    error = capsys.readouterr().err
    assert "syn/semantic: its labels are CARLA's, but no tag is above 22" in error
    (remedy,) = re.findall(r"--format FOLDER=(carla-[\d.]+)", error)
    assert new_project("segmentation", "--format", f"synthetic={remedy}") == 0


def edit(path, old, new):
    content = Path(path).read_bytes()
    assert old.encode() in content
    Path(path).write_bytes(content.replace(old.encode(), new.encode(), 1))


TRAIN = "train/labels/a 0.txt"
VOC = "VOCdevkit/VOC2012/Annotations/2012_0.xml"
KITTI = "training/label_2/000001.txt"
SOLO = "sequence.0/step0.frame_data.json"
PLACE = "captures[0].annotations[0].values[0]"
BDD = "labels/det_20/det_train.json"
SHIFT = "discrete/images/train/front/det_2d.json"
# Maker, file, what becomes what in it, and words of the error.
BAD = [
    ("yolo", TRAIN, "0 0.3", "5 0.3", "line 1: class '5', expected a whole number of 0 to 1"),
    ("yolo", TRAIN, "0 0.3", "0 1.3", "line 1: 1.3125 is no share of the image, expected 0 to 1"),
    ("yolo", TRAIN, "0 0.3", "0 x.3", "line 1: a value is 'x.3125', expected a number"),
    ("yolo", "data.yaml", "nc: 2", "nc: 3", "`nc` is 3, but `names` has 2"),
    ("yolo", "data.yaml", "../train/images", "elsewhere", "`train` names elsewhere, which does not exist below"),
    ("voc", VOC, "<xmin>11", "<xmin>one", "object[0]/bndbox/xmin is 'one', expected a number"),
    ("voc", VOC, "</annotation>", "", "cannot be read as XML"),
    ("kitti", KITTI, "10.00", "left", "line 1: a side of the box is 'left', expected a number"),
    ("kitti", KITTI, " -1.6\n", "\n", "line 1: 14 values. Expected 15 or 16 values"),
    ("solo", SOLO, '"origin": [10', '"origin": ["a"', f"{PLACE}.origin or dimension is 'a', expected a number"),
    ("solo", SOLO, '"labelName": "car"', '"labelName": 3', f"{PLACE}.labelName is 3, expected a text"),
    ("replicator", "bounding_box_2d_tight_labels_0000.json", '"0": ', '"7": ', "semanticId 0 is none of 7, 1"),
    ("replicator", "bounding_box_2d_tight_0001.npy", "x_max", "x_mix", "has no field x_max, expected semanticId"),
    ("bdd100k", BDD, '"x2": 49', '"x2": null', "frames[0].labels[0].box2d.x2 is None, expected a number"),
    ("shift", SHIFT, '"frames"', '"frame"', "frames is None, expected a list"),
    ("coco", "annotations/instances_train2017.json", '"category_id": 1', '"category_id": 9', "category_id 9 is none"),
]


@pytest.mark.parametrize(("maker", "file", "old", "new", "words"), BAD)
def test_a_bad_file_is_one_line_with_its_field(maker, file, old, new, words, here, capsys):
    make(maker)
    edit(Path("syn") / file, old, new)
    assert new_project("detection") == 1
    output = capsys.readouterr()
    (line,) = [line for line in (output.out + output.err).splitlines() if words in line]
    assert f"syn/{file}".replace("labels_0000.json", "0000.npy") in line  # the array is at fault as well
    assert "Traceback" not in output.err
    assert not Path("out/baseline.yaml").exists()


@pytest.mark.parametrize("task", ["detection", "segmentation"])
def test_a_folder_in_no_format_is_answered_with_those_that_are(task, here, capsys):
    make("kitti")
    Path("real/notes.csv").write_text("what is this")
    shutil.rmtree("real/training/label_2")
    shutil.rmtree("syn")
    folders.solo(Path("syn"))
    assert new_project(task) == 1
    error = capsys.readouterr().err
    assert "error: real: is in no format that is known here: " in error
    assert "Name it (--format FOLDER=NAME)" in error


def test_the_document_lists_every_format():
    from gcisg_seg.formats import FORMATS as STREET_FORMATS
    from gcisg_suite.formats.table import FORMATS, UNLABELLED

    page = (Path(__file__).parents[2] / "docs/your_data.md").read_text()
    (rows,) = re.findall(r"^\| format \| detection.*?\n\n", page, re.M | re.S)
    names = {name for row in rows.strip().splitlines()[2:] for name in re.findall(r"`([\w.-]+)`", row.split("|")[1])}
    assert names == {*FORMATS, *STREET_FORMATS, UNLABELLED}
    for name in names - {UNLABELLED}:
        boxes, masks = (
            any(getattr(table.get(name), kind, None) for table in (FORMATS, STREET_FORMATS))
            for kind in ("boxes", "masks")
        )
        (row,) = [row.split("|") for row in rows.strip().splitlines()[2:] if f"`{name}`" in row.split("|")[1]]
        alone = row[1].count("`") == 2
        assert not alone or (bool(row[2].strip()), bool(row[3].strip())) == (boxes, masks), name
