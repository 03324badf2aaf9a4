"""What a bad file of each format, or a folder in none, is answered with."""

import shutil
from pathlib import Path

import numpy as np
import pytest

from tests.documents import ROOT
from tests.formats import folders
from tests.formats.commands import make, new_project


def edit(path, old, new):
    content = Path(path).read_bytes()
    assert old.encode() in content
    Path(path).write_bytes(content.replace(old.encode(), new.encode(), 1))


TRAIN = "train/labels/a 0.txt"
VOC = "VOCdevkit/VOC2012/Annotations/2012_0.xml"
KITTI = "training/label_2/000001.txt"
SOLO = "sequence.0/step0.frame_data.json"
PLACE = "captures[0].annotations[0].values[0]"
COCO = "annotations/instances_train2017.json"
BDD = "labels/det_20/det_train.json"
SHIFT = "discrete/images/train/front/det_2d.json"
# Maker, file, what becomes what in it, and words of the error.
BAD = [
    ("yolo", TRAIN, "0 0.3", "5 0.3", "line 1: class is '5', expected a whole number from 0 to 1"),
    ("yolo", TRAIN, "0 0.3", "0 1.3", "line 1: 1.3125 is not a fraction of the image's size, expected 0 to 1"),
    ("yolo", TRAIN, "0 0.3", "0 x.3", "line 1: a value is 'x.3125', expected a number"),
    ("yolo", "data.yaml", "nc: 2", "nc: 3", "`nc` is 3, but `names` has 2 entries"),
    ("yolo", "data.yaml", "../train/images", "elsewhere", "`train` is elsewhere, which does not exist below"),
    ("yolo", "data.yaml", "nc: 2", "kpt_shape: [17, 3]", "says that the labels hold keypoints (`kpt_shape`)"),
    ("coco", COCO, '"iscrowd"', '"segments_info": [], "iscrowd"', "is COCO's panoptic format (`segments_info`)"),
    ("voc", VOC, "<xmin>11", "<xmin>one", "object[0]/bndbox/xmin is 'one', expected a number"),
    ("voc", VOC, "</annotation>", "", "cannot be read as XML"),
    ("kitti", KITTI, "10.00", "left", "line 1: a side of the box is 'left', expected a number"),
    ("kitti", KITTI, " -1.6\n", "\n", "line 1: 14 values. Expected 15 or 16 values"),
    ("solo", SOLO, '"origin": [10', '"origin": ["a"', f"{PLACE}.origin or dimension is 'a', expected a number"),
    ("solo", SOLO, '"labelName": "car"', '"labelName": 3', f"{PLACE}.labelName is 3, expected a string"),
    ("replicator", "bounding_box_2d_tight_labels_0000.json", '"0": ', '"7": ', "semanticId is 0, expected one of 7, 1"),
    ("replicator", "bounding_box_2d_tight_0001.npy", "x_max", "x_mix", "has no field x_max, expected semanticId"),
    ("bdd100k", BDD, '"x2": 49', '"x2": null', "frames[0].labels[0].box2d.x2 is None, expected a number"),
    ("shift", SHIFT, '"frames"', '"frame"', "frames is None, expected a list"),
    ("coco", COCO, '"category_id": 1', '"category_id": 9', "category_id 9 is not in"),
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


@pytest.mark.remedy("Name it (--format {}=NAME, {} for images alone), or the folder that holds its files")
@pytest.mark.remedy("{}; docs/your_data.md lists them")
@pytest.mark.parametrize("task", ["detection", "segmentation"])
def test_a_folder_in_no_format_is_answered_with_those_that_are(task, here, capsys):
    make("kitti")
    Path("real/notes.csv").write_text("what is this")
    shutil.rmtree("real/training/label_2")
    shutil.rmtree("syn")
    folders.solo(Path("syn"))
    assert new_project(task) == 1
    error = capsys.readouterr().err
    assert "error: real: is in no known format (" in error
    assert "Name it (--format real=NAME, unlabelled for images alone)" in error
    assert "; docs/your_data.md lists them" in error
    document = (ROOT / "docs/your_data.md").read_text(encoding="utf-8")
    listed = error.partition("is in no known format (")[2].partition(")")[0].split(", ")
    assert len(listed) > 5
    assert not [name for name in listed if f"`{name}`" not in document]
    assert new_project(task, "--format", "real=unlabelled") == 0


@pytest.mark.parametrize("task", ["detection", "segmentation"])
def test_label_images_are_no_photos_without_labels(task, here, capsys):
    make("solo")
    shutil.rmtree("real")
    for number in range(2):
        folders.photo(Path("real", "camera", f"{number}.jpg"), number)
        folders.save(Path("real", "GT", f"{number}.png"), folders.painted({"car": 1, "person": 2}))
    assert new_project(task) == 1
    assert "error: real: is in no known format (" in capsys.readouterr().err
    assert not Path("out/baseline.py").exists()
    shutil.rmtree("real/GT")
    assert new_project(task) == 0
    assert "real: real read as unlabelled: 2 images" in capsys.readouterr().out


@pytest.mark.remedy("If so, give --task segmentation with --labels, --label-suffix and --classes")
@pytest.mark.parametrize("values", [(1, 2), ((200, 0, 0), (0, 200, 0))])
def test_label_images_of_classes_are_not_taken_for_masks_of_objects(values, here, capsys):
    for name in ("syn", "real"):
        for number in range(2):
            folders.photo(Path(name, "images", f"{number}.jpg"), number)
            label = np.array([np.zeros_like(values[0]), *values], np.uint8)[folders.painted({"car": 1, "person": 2})]
            folders.save(Path(name, "masks", f"{number}_mask.png"), label)
    assert new_project("detection") == 1
    error = capsys.readouterr().err
    assert "syn/masks/0_mask.png: has several values or colours besides 0, expected one. Is it a label image" in error
    names = "ground\ncar\nman" if values == (1, 2) else "ground 0 0 0\ncar 200 0 0\nman 0 200 0"
    Path("classes.txt").write_text(names)
    flags = ["--labels", "masks", "--label-suffix", "_mask.png", "--classes", "classes.txt"]
    assert new_project("segmentation", *flags) == 0


def test_other_names_in_the_real_folder_are_listed(here, capsys):
    make("kitti")
    for path in Path("real").rglob("label_2/*.txt"):
        path.write_text(path.read_text().replace("car ", "Car ").replace("person ", "Person "))
    assert new_project("detection") == 1
    error = capsys.readouterr().err
    assert "error: the classes are car, person, but those of real/training are Car, Person. Give" in error
