"""What `new-project` and `audit` tell people to do about their folders, done: each message is provoked and followed."""

import json
import shutil
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tests.formats import folders
from tests.formats.commands import gcisg, make, new_project


def said(capsys):
    printed = capsys.readouterr()
    return printed.out + printed.err


def moved(pattern, goal):
    """Takes the files away that a setting of a writer would have written."""
    for path in [*Path().rglob(pattern)]:
        (goal / path).parent.mkdir(parents=True, exist_ok=True)
        path.rename(goal / path)


@pytest.mark.remedy("Name the folder that holds the labels, or another format (--format {name}=NAME)")
@pytest.mark.parametrize("name", ["syn", "real"])
def test_a_folder_read_in_another_format_than_its_own(name, here, capsys):
    make("kitti")
    shutil.rmtree(name)
    folders.photo(Path(name, "images", "0.jpg"))
    folders.text(Path(name, "data.yaml"), "names: [car, person]\ntrain: images\nval: images\n")
    which = "synthetic" if name == "syn" else "real"
    folders.photo(Path(name, "training/image_2/0.png"))
    folders.text(Path(name, "training/label_2/0.txt"), "car 0 0 0 20 10 60 40 1 1 1 1 1 9 0")
    assert new_project("detection", "--format", f"{which}=yolo") == 1
    assert f"Name the folder that holds the labels, or another format (--format {which}=" in said(capsys)
    assert new_project("detection", "--format", f"{which}=kitti", "--force") == 0


@pytest.mark.remedy("Correct the boxes, or name other --classes")
def test_boxes_of_which_none_can_be_used(here, capsys):
    make("kitti")
    (file, *others) = sorted(Path("syn").rglob("label_2/*.txt"))
    for path in others:
        path.write_text("")
    file.write_text("car 0 0 0 60 10 20 40 1 1 1 1 1 9 0\nperson 0 0 0 20 10 60 40 1 1 1 1 1 9 0")
    assert new_project("detection", "--classes", "car") == 1
    assert "syn/training: has no usable box; left out: 1 boxes without area (such as car [" in said(capsys)
    assert new_project("detection", "--classes", "person") == 0
    file.write_text(file.read_text().replace("60 10 20", "20 10 60"))
    assert new_project("detection", "--classes", "car", "--force") == 0


@pytest.mark.remedy("Training needs labels: name the folder that holds them, or its format")
def test_the_part_of_the_synthetic_folder_that_holds_images_alone(here, capsys):
    make("yolo")
    arguments = ["--task", "detection", "--real", "real", "--output", "out", "--workers", "1", "--synthetic"]
    inner = next(path.parent for path in Path("syn").rglob("*.jpg"))
    assert gcisg("new-project", *arguments, str(inner)) == 1
    assert "has images, but no labels in a known format. Training needs labels: name the" in said(capsys)
    assert gcisg("new-project", *arguments, "syn") == 0


@pytest.mark.remedy("{}, but {} is read as {}. Leave the option out, or give another --format")
def test_an_option_of_labels_that_are_read_in_place(here, capsys):
    make("replicator")
    assert new_project("segmentation", "--ignore-index", "9") == 1
    assert "syn is read as replicator. Leave the option out, or give another --format" in said(capsys)
    assert new_project("segmentation") == 0
    for name in ("syn", "real"):  # another format: that of labels that are read in place
        for number in range(2):
            folders.photo(Path(name, "images", f"{number}.jpg"), number)
            folders.save(Path(name, "labels", f"{number}.png"), folders.painted({"car": 1, "person": 2}))
    given = ["--ignore-index", "9", "--num-classes", "3", "--output", "out2"]
    assert new_project("segmentation", "--format", "native", *given) == 0, said(capsys)


@pytest.mark.remedy("Give names that both folders have (--classes A B ...), or rename the classes of one")
def test_classes_that_a_folder_does_not_have(here, capsys):
    make("kitti")
    files = [*Path("real").rglob("label_2/*.txt")]
    for path in files:
        path.write_text(path.read_text().replace("car ", "Car ").replace("person ", "Person "))
    with_bus = [*Path().rglob("label_2/*.txt")]
    for path in with_bus:
        path.write_text(f"{path.read_text()}bus 0.00 0 -1.57 1.00 1.00 9.00 9.00 1 1 1 1 1 9 0\n")
    assert new_project("detection", "--classes", "car") == 1
    assert "those of real/training are Car, Person, bus. Give names that both" in said(capsys)
    assert new_project("detection", "--classes", "bus") == 0
    for path in files:
        path.write_text(path.read_text().replace("Car ", "car "))
    assert new_project("detection", "--classes", "car", "--force") == 0


@pytest.mark.remedy("Put the images there, or correct `file_name`")
def test_images_of_a_coco_file_that_lie_elsewhere(here, capsys):
    make("blenderproc")
    shutil.move("syn/images", "photos")
    assert new_project("detection") == 1
    assert "were not found below syn. Put the images there, or correct `file_name`" in said(capsys)
    shutil.move("photos", "syn/photos")
    file = Path("syn/coco_annotations.json")
    text = file.read_text()
    file.write_text(text.replace("images/0", "photos/0"))
    assert new_project("detection") == 0
    file.write_text(text)
    shutil.move("syn/photos", "syn/images")
    assert new_project("detection", "--force") == 0


@pytest.mark.remedy("Use --task detection for boxes", "Use --task detection")
@pytest.mark.parametrize("maker", ["coco", "yolo"])
def test_boxes_alone_for_segmentation(maker, here, capsys):
    make(maker)
    assert new_project("segmentation") == 1
    assert "Use --task detection" in said(capsys)
    assert new_project("detection") == 0


@pytest.mark.remedy("Set bounding_box_2d_tight=True on the writer", "Set semantic_segmentation=True on the writer")
@pytest.mark.parametrize(
    ("task", "setting"), [("detection", "bounding_box_2d_tight"), ("segmentation", "semantic_segmentation")]
)
def test_a_part_that_the_writer_was_not_told_to_write(task, setting, here, capsys, tmp_path):
    make("replicator")
    moved(f"{setting}_*", tmp_path / "away")
    assert new_project(task) == 1
    assert f"Set {setting}=True on the writer" in said(capsys)
    shutil.copytree(tmp_path / "away", ".", dirs_exist_ok=True)
    assert new_project(task) == 0


@pytest.mark.remedy("Install it (python -m pip install h5py), or use BlenderProc's COCO writer")
def test_hdf5_without_its_package(here, capsys, monkeypatch):
    make("hdf5")
    with monkeypatch.context() as patch:
        patch.setitem(sys.modules, "h5py", None)
        assert new_project("detection") == 1
        assert "needs the package h5py. Install it (python -m pip install h5py), or use Blender" in said(capsys)
        shutil.move("syn", "before")
        folders.blenderproc(Path("syn"))
        shutil.move("real", "real before")
        folders.blenderproc(Path("real"))
        assert new_project("detection") == 0
    assert gcisg("new-project", "--task", "detection", "--synthetic", "before", "--real", "real before",
                 "--output", "out2", "--workers", "1") == 0  # fmt: skip


@pytest.mark.remedy(
    "Add it to the data that you pass to write_hdf5", 'Set default_values={"category_id": 0} in enable_'
)
@pytest.mark.parametrize(
    ("part", "value", "words"),
    [
        (
            "instance_segmaps",
            None,
            "has no instance_segmaps; its keys are class_segmaps, colors, instance_attribute_maps. Add",
        ),
        ("instance_attribute_maps", '[{"idx": 0}]', 'Set default_values={"category_id": 0} in enable_segmentation_'),
    ],
)
def test_hdf5_without_a_part(part, value, words, here, capsys):
    import h5py

    make("hdf5")
    whole = Path("syn/0.hdf5").read_bytes()
    with h5py.File("syn/0.hdf5", "r+") as content:
        del content[part]
        if value:
            content[part] = np.bytes_(value)
    assert new_project("detection") == 1
    assert words in said(capsys)
    Path("syn/0.hdf5").write_bytes(whole)
    assert new_project("detection") == 0


PAIRS = ["audit", "--dataset", "pairs", "--root", "real", "--num-classes", "3", "--workers", "1"]


@pytest.fixture
def pairs(here):
    for name in ("syn", "real"):
        for number in range(2):
            folders.photo(Path(name, "images", f"{number}.jpg"), number)
            folders.save(Path(name, "labels", f"{number}.png"), folders.painted({"car": 1, "person": 2}))


@pytest.mark.remedy(
    "Remove or rename one of the two, or say which suffix to use (img_suffix or seg_map_suffix in a config"
)
def test_two_images_of_a_name(pairs, capsys):
    Image.new("RGB", (96, 64)).save("real/images/0.bmp")
    assert gcisg(*PAIRS) == 1
    assert "or say which suffix to use" in said(capsys)
    assert gcisg(*PAIRS, "--image-suffix", ".jpg") == 0
    shutil.copy("real/labels/1.png", "real/labels/1.bmp")
    assert gcisg(*PAIRS, "--image-suffix", ".jpg") == 1
    assert gcisg(*PAIRS, "--image-suffix", ".jpg", "--label-suffix", ".png") == 0
    for path in ("real/images/0.bmp", "real/labels/1.bmp"):
        Path(path).unlink()
    assert gcisg(*PAIRS) == 0


@pytest.mark.remedy("Give both suffixes: img_suffix='.jpg', seg_map_suffix='_mask.png' in a config, --image-suffix and")
def test_images_and_labels_in_one_folder(pairs, capsys):
    for path in Path("real/labels").iterdir():
        path.rename(f"real/images/{path.stem}_mask.png")
    assert gcisg(*PAIRS, "--labels", "images") == 1
    assert "Give both suffixes: img_suffix='.jpg'" in said(capsys)
    assert gcisg(*PAIRS, "--labels", "images", "--image-suffix", ".jpg", "--label-suffix", "_mask.png") == 0


COCO = ["audit", "--dataset", "coco", "--root", "real", "--workers", "1"]


@pytest.mark.remedy(
    "Name the file: --annotations FILE",
    "Name the file that has them: --annotations FILE",
    "Annotate it, or leave it out: remove it from `categories`, or name the others (--classes A B ...)",
    "Name the file of the instances, or convert it: panoptic2detection_coco_format of panopticapi",
    "Merge the entries and give their boxes one image_id",
)
def test_a_coco_file_in_each_way(here, capsys):
    folders.blenderproc(Path("real"))
    folders.blenderproc(Path("syn"))
    file = Path("real/coco_annotations.json")
    content = json.loads(file.read_text())
    assert gcisg(*COCO) == 0

    Path("real/other.json").write_text(json.dumps({**content, "annotations": []}))
    assert gcisg(*COCO) == 1
    assert "holds 2 JSON files, expected 1. Name the file: --annotations FILE" in said(capsys)
    assert gcisg(*COCO, "--annotations", "other.json") == 1
    assert "Name the file that has them: --annotations FILE" in said(capsys)
    panoptic = [{"segments_info": [], "image_id": 0, "file_name": "0.png"}]
    Path("real/other.json").write_text(json.dumps({**content, "annotations": panoptic}))
    assert gcisg(*COCO, "--annotations", "other.json") == 1
    assert "Name the file of the instances, or convert it" in said(capsys)
    assert gcisg(*COCO, "--annotations", file.name) == 0
    Path("real/other.json").unlink()

    more = [*content["categories"], {"id": 9, "name": "bus"}]
    file.write_text(json.dumps({**content, "categories": more}))
    assert gcisg(*COCO) == 1
    assert "category 'bus' has no annotation. Annotate it, or leave it out: " in said(capsys)
    assert gcisg(*COCO, "--classes", "car", "person") == 0

    twice = [*content["images"], {**content["images"][0], "id": 77}]
    boxes = [{**content["annotations"][0], "id": 99, "image_id": 77}, *content["annotations"][1:]]
    file.write_text(json.dumps({**content, "images": twice, "annotations": boxes}))
    assert gcisg(*COCO) == 1
    assert "Merge the entries and give their boxes one image_id" in said(capsys)
    boxes = [{**box, "image_id": 0} if box["image_id"] == 77 else box for box in boxes]
    file.write_text(json.dumps({**content, "annotations": boxes}))
    assert gcisg(*COCO) == 0


@pytest.mark.remedy(
    "Restore it, or give the folder that `file_name` starts from (audit: --root, new-project: --images){}"
)
def test_file_names_that_start_elsewhere(here, capsys):
    make("blenderproc")
    audit = ["audit", "--dataset", "coco", "--workers", "1", "--root"]
    Path("real/images/json").mkdir()
    Path("real/coco_annotations.json").rename("real/images/json/own.json")
    assert gcisg(*audit, "real/images/json") == 1
    assert "the folder that `file_name` starts from (audit: --root, new-project: --images); this one" in said(capsys)
    assert gcisg(*audit, "real", "--annotations", "images/json/own.json") == 0

    Path("real/images/json/own.json").rename("real/annotations.json")
    Path("syn/coco_annotations.json").rename("syn/annotations.json")
    for name in ("syn", "real"):
        shutil.copytree(f"{name}/images", f"{name}/a/b/c/d/images")
        shutil.rmtree(f"{name}/images")
    assert new_project("detection") == 1
    assert "or give the folder that `file_name` starts from (audit: --root, new-project: --images)" in said(capsys)
    assert new_project("detection", "--images", "a/b/c/d") == 0
