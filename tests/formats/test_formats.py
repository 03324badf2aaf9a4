"""`gcisg new-project` on folders as other programs write them, up to what training reads."""

import json
import re
import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from gcisg_suite.coco.load import load_coco
from tests.formats import folders, streets
from tests.formats.commands import gcisg, make, new_project
from tests.formats.folders import BOXES, FRAMES, NAMES

# Maker -> the format that is recognised.
BOX_FORMATS = {
    "yolo": "yolo", "yolo_outlines": "yolo", "darknet": "yolo", "label_img": "yolo", "voc": "voc",
    "kitti": "kitti", "coco": "coco", "blenderproc": "coco",
    "hdf5": "hdf5", "replicator": "replicator", "solo": "solo", "objects": "objects", "kaggle_objects": "objects",
    "bdd100k": "bdd100k", "bdd100k_2018": "bdd100k", "bdd100k_files": "bdd100k", "shift": "shift",
    "cityscapes": "cityscapes", "foggy_cityscapes": "foggy-cityscapes", "acdc_boxes": "coco",
}  # fmt: skip
MASK_FORMATS = {
    "yolo_outlines": "yolo", "voc_masks": "voc", "crowds": "coco",
    "blenderproc": "coco", "hdf5": "hdf5", "replicator": "replicator", "solo": "solo",
    "objects": "objects", "carla": "carla", "shift": "shift", "cityscapes": "cityscapes",
    "foggy_cityscapes": "foggy-cityscapes", "acdc": "acdc", "bdd100k_masks": "bdd100k", "bdd100k_seg": "bdd100k-seg",
    "mapillary": "mapillary", "mapillary_v1": "mapillary-v1", "synthia": "synthia",
}  # fmt: skip
STREETS = ("carla", "shift", "cityscapes", "foggy_cityscapes", "acdc", "bdd100k_masks", "bdd100k_seg", "mapillary",
           "mapillary_v1", "synthia")  # fmt: skip


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


LAYOUTS = {
    "acdc": ("ACDCDataset", "fog/val", "acdc"), "bdd100k_seg": ("BDD100KSegDataset", "val", "bdd100k-seg"),
    "foggy_cityscapes": ("FoggyCityscapesDataset", "val", "foggy-cityscapes"),
    "shift": ("SHIFTDataset", "val", "shift"), "synthia": ("SYNTHIADataset", "all", "synthia"),
}  # fmt: skip


@pytest.mark.parametrize("maker", LAYOUTS)
def test_named_layouts_are_read_and_audited_in_place(maker, here, capsys):
    from mmengine.registry import init_default_scope
    from mmseg.registry import DATASETS

    import gcisg_seg.registry  # noqa: F401

    kind, split, audited = LAYOUTS[maker]
    getattr(streets, maker)(Path("real"))
    init_default_scope("mmseg")
    load = [{"type": "LoadCheckedImage"}, {"type": "LoadLabelIds"}]
    dataset = DATASETS.build({"type": kind, "data_root": "real", "split": split, "pipeline": load})
    assert len(dataset) == (2 if maker == "acdc" else FRAMES)
    expected = folders.painted({"car": 13, "person": 11})
    assert all(np.array_equal(item["gt_seg_map"], expected) for item in dataset)
    assert gcisg("audit", "--dataset", audited, "--root", "real", "--workers", "1") == 0, capsys.readouterr().out


def test_folders_named_like_anyones_can_be_gtavs(here, capsys):
    for name in ("syn", "real"):
        for number in range(FRAMES):
            folders.photo(Path(name, "images", f"{number}.png"), number)
            folders.save(Path(name, "labels", f"{number}.png"), folders.painted(streets.CITYSCAPES, other=7))
    assert new_project("segmentation", "--format", "gtav") == 0
    assert f"real: real read as gtav: {FRAMES} images, classes road, " in capsys.readouterr().out


@pytest.mark.parametrize("pattern", ["{image}/{name}_0", "{image}_{name}_1", "{name}/{image}"])
def test_a_masks_class_is_in_its_name_or_folder(pattern, here):
    for folder in ("syn", "real"):
        for number in range(2):
            folders.photo(Path(folder, "images", f"a_{number}.jpg"), number)
            for name in NAMES:
                path = Path(folder, "masks", pattern.format(image=f"a_{number}", name=name) + ".png")
                folders.save(path, folders.painted({name: 255}))
    assert new_project("detection") == 0
    assert sorted(read_entries("real")[0].classes) == NAMES


def test_yolos_paths_of_another_machine_and_labels_beside_images(here):
    for name in ("syn", "real"):
        folders.yolo(Path("images", name))  # `labels` stands in place of the last `images`, not of this one
        for path in [*Path("images", name).glob("*/*/*.*")]:
            path.rename(path.parents[1] / path.name)
        content = {"train": "/content/x/train", "val": "C:\\x\\valid", "names": NAMES}
        Path("images", name, "data.yaml").write_text(json.dumps(content))
    flags = ["--synthetic", "images/syn", "--real", "images/real"]
    assert new_project("detection", *flags) == 0
    data, root = read_entries("real")
    assert {Path(root, item["file_name"]).parent.name for item in data.images} == {"valid"}
    assert len(data.annotations) == 2 * FRAMES


def test_vocs_boxes_that_count_from_0_show_it(here):
    make("voc")
    for path in Path().rglob("*.xml"):
        content = re.sub(r"<(xmin|ymin)>(\d+)", lambda found: f"<{found[1]}>{int(found[2]) - 1}", path.read_text())
        path.write_text(content.replace("<xmin>10<", "<xmin>0<"))
    assert new_project("detection") == 0
    boxes = [item["bbox"] for item in read_entries("real")[0].annotations]
    assert boxes == [[0, 20, 50, 30], [60, 8, 16, 50]]


@pytest.mark.parametrize(
    ("task", "maker", "what"),
    [("detection", "yolo", "yolo: 3 images without any box"), ("segmentation", "yolo_outlines", "yolo: 3 images"),
     ("segmentation", "voc", "holds no SegmentationClass")],
)  # fmt: skip
def test_a_folder_without_any_object_is_named(task, maker, what, here, capsys):
    make(maker)
    for path in Path("syn").rglob("labels/**/*.txt"):
        path.write_text("")
    assert new_project(task) == 1
    assert re.search(f"error: syn: .*{what}", capsys.readouterr().err)


def test_what_is_left_out_is_counted_in_the_line(here, capsys):
    make("kitti")
    Path("classes.txt").write_text("car\n")
    assert new_project("detection", "--classes", "classes.txt") == 0
    line = capsys.readouterr().out.splitlines()[0]
    counts = "3 images, 3 boxes of car -> out/data/synthetic/annotations.json; left out: 3 DontCare regions, "
    assert counts + "3 boxes of person, which are not among the classes" in line
    content = json.loads(Path("out/data/real/annotations.json").read_text())
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
    streets.cityscapes(Path("real"))
    more = ["--format", "synthetic=carla", "real=cityscapes"]
    assert new_project("segmentation", *more) == 0
    output = capsys.readouterr().out
    assert (
        "note: out/data/synthetic/labels: class 'sidewalk' (value 1) has no pixel. The classes are those of" in output
    )
    assert "note: ... and 13 more of this kind (class that does not occur in the data); --json lists all" in output
    assert new_project("segmentation", "--format", "syn=carla") == 2
    assert "--format syn=carla: expected NAME, synthetic=NAME or real=NAME" in capsys.readouterr().err
    assert new_project("segmentation", "--format", "carl") == 1
    assert "unknown format 'carl'. Did you mean 'carla'?" in capsys.readouterr().err


@pytest.mark.remedy("Say which: --format carla for CARLA 0.9.14 and later")
def test_tags_that_do_not_tell_the_version_are_asked_about(here, capsys):
    make("carla")
    for path in Path("syn/semantic").iterdir():
        label = np.array(Image.open(path))
        label[label[..., 0] == 24, 0] = 7
        Image.fromarray(label).save(path)
    assert new_project("segmentation") == 1
    error = capsys.readouterr().err
    assert "syn/semantic: holds CARLA's labels, but no tag is above 22" in error
    (remedy,) = re.findall(r"--format (carla-[\d.]+\d)", error)
    assert new_project("segmentation", "--format", f"synthetic={remedy}") == 0


# Colours of CARLA's CityScapesPalette before 0.9.10, up to 0.9.13, and from 0.9.14 on -> the class or None.
RENDERED = {
    "0.9.9": {(190, 153, 153): "fence", (250, 170, 160): None, (157, 234, 50): "road", (0, 0, 142): "car"},
    "0.9.13": {(100, 40, 40): "fence", (145, 170, 100): "terrain", (55, 90, 80): None, (220, 20, 60): "person"},
    "0.9.14": {(152, 251, 152): "terrain", (255, 0, 0): "rider", (81, 0, 81): None, (157, 234, 50): "road"},
}


@pytest.mark.parametrize("version", RENDERED)
def test_carlas_colours_of_every_version_are_read_as_its_tags_are(version, here, capsys):
    make("carla")
    colours = RENDERED[version]
    for path in Path().glob("*/semantic/*.png"):
        label = np.array([*colours], np.uint8)[np.arange(64 * 96).reshape(64, 96) % 4]
        Image.fromarray(np.dstack([label, np.full((64, 96), 255, np.uint8)])).save(path)
    assert new_project("segmentation") == 0
    assert "synthetic: syn read as carla: 3 images, classes road, " in capsys.readouterr().out
    from gcisg_seg.formats import CLASSES

    found = np.array(Image.open("out/data/real/labels/00000000.png"))[0, :4].tolist()
    assert found == [255 if name is None else CLASSES.index(name) for name in colours.values()]


def test_the_document_lists_every_format():
    from gcisg_seg.formats import STREETS as STREET_FORMATS
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
