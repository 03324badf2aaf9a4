"""Boxes of Sim10k and Cityscapes by hand-computed values, and planted faults that must be named."""

import json
import sys

import numpy as np
import pytest

pytest.importorskip("detectron2")
import gcisg_det  # noqa: F401  repairs Detectron2 0.5 before it is imported

# isort: split
from detectron2.data import DatasetCatalog, get_detection_dataset_dicts

from gcisg_core.problems import DataError
from gcisg_det.datasets import cityscapes, register_datasets, sim10k
from tests.detection.scenes import (
    SCENES,
    framework_log,
    make_cityscapes,
    make_sim10k,
    picture,
    rectangle,
    tiny_config,
    voc_object,
)


def boxes(records):
    return [[annotation["bbox"] for annotation in record["annotations"]] for record in records]


def test_published_box_of_whole_image_becomes_whole_image(tmp_path):
    folder = make_sim10k(tmp_path, 1, {0: voc_object((1, 1, 128, 96))})
    assert boxes(sim10k.load_sim10k(folder)) == [[(0, 0, 128, 96)]]


def test_sim10k_boxes_equal_detectron2s_reader(tmp_path):
    from detectron2.data.datasets.pascal_voc import load_voc_instances

    folder = make_sim10k(tmp_path)
    theirs = load_voc_instances(str(folder), "trainval10k", ["car"])
    ours = sim10k.load_sim10k(folder)
    assert [list(map(list, image)) for image in boxes(ours)] == boxes(theirs)


def test_only_usable_cars_stay_and_the_rest_is_named(tmp_path, caplog):
    faults = voc_object((5, 5, 9, 9), difficult=1) + voc_object((60, 5, 20, 9)) + voc_object((200, 5, 220, 9))
    faults += voc_object((1, 1, 9, 9), "person") + voc_object((120, 90, 140, 99))
    folder = make_sim10k(tmp_path, 2, {0: faults})
    with framework_log(caplog):
        records = sim10k.load_sim10k(folder)
    assert boxes(records)[0] == [(119, 89, 128, 96)]  # clipped to the image
    assert "difficult boxes, left out: 1, such as 0000000.xml (5.0, 5.0, 9.0, 9.0)" in caplog.text
    assert "degenerate boxes, left out: 2, such as 0000000.xml (60.0, 5.0, 20.0, 9.0)" in caplog.text
    assert len({record.getMessage() for record in caplog.records}) == 2


@pytest.mark.parametrize(
    ("xml", "message"),
    [
        ("<annotation><size>", "cannot be read as XML"),
        ("<annotation/>", "the field `size` is missing"),
        ("<annotation><size><width>x</width><height>9</height></size></annotation>", "size/width is 'x', expected a"),
        ("<annotation><size><width>0</width><height>9</height></size></annotation>", "size is 0 x 9"),
        (voc_object((1, 2, "nan", 4)), r"object\[0\]/bndbox/xmax is 'nan', expected a number"),
        (voc_object((1, 2, 3, 4)).replace("ymin", "y"), r"object\[0\]/bndbox/ymin is None"),
        (voc_object((1, 2, 3, 4), "lorry"), r"object\[0\]/name is 'lorry', expected one of car, motorbike"),
        ("<object><name>car</name></object>", r"object\[0\]/bndbox is missing"),
    ],
)
def test_broken_annotation_is_named_with_field_and_value(tmp_path, xml, message):
    folder = make_sim10k(tmp_path, 2, {1: xml})
    if xml.startswith("<annotation"):
        (folder / "Annotations/0000001.xml").write_text(xml)
    with pytest.raises(DataError, match=f"0000001.xml: .*{message}.*Unpack"):
        sim10k.load_sim10k(folder)


def test_wrong_folders_never_give_zero_images(tmp_path, monkeypatch):
    monkeypatch.setenv("GCISG_DATA", str(tmp_path / "nowhere"))
    register_datasets()
    with pytest.raises(DataError, match=r"nowhere/sim10k/VOC2012/JPEGImages.*Download the images.*trainval10k.txt"):
        DatasetCatalog.get("sim10k_trainval_car")
    with pytest.raises(DataError, match=r"nowhere/cityscapes/leftImg8bit/val.*Download `leftImg8bit_trainvaltest"):
        DatasetCatalog.get("cityscapes_val_car_coco")
    folder = make_sim10k(tmp_path)
    (folder / "JPEGImages/0000003.jpg").unlink()
    with pytest.raises(DataError, match=r"0000003.jpg: is listed"):
        sim10k.load_sim10k(folder)
    (folder / "ImageSets/Main/trainval10k.txt").write_text("")
    with pytest.raises(DataError, match=r"lists no image"):
        sim10k.load_sim10k(folder)
    city = make_cityscapes(tmp_path, SCENES)
    for file in city.glob("leftImg8bit/val/*/*.png"):
        file.rename(file.with_name(file.name.replace("_leftImg8bit", "")))
    with pytest.raises(DataError, match=r"holds no <city>"):
        cityscapes.load_cityscapes_cars(city)


def test_no_car_at_all_is_an_error(tmp_path):
    folder = make_sim10k(tmp_path, 2, {i: voc_object((1, 1, 9, 9), "person") for i in range(2)})
    with pytest.raises(DataError, match=r"none of 2 images has a usable `car`"):
        sim10k.load_sim10k(folder)
    with pytest.raises(DataError, match=r"none of 1 images has a car"):
        cityscapes.load_cityscapes_cars(make_cityscapes(tmp_path, SCENES[1:2]))
    groups = make_cityscapes(tmp_path / "groups", [SCENES[2][:1]])
    with pytest.raises(DataError, match=r"none of 1 images has a car"):
        cityscapes.load_cityscapes_cars(groups)


def test_coco_convention_boxes_visible_pixels_and_groups_are_crowd(tmp_path):
    records = cityscapes.load_cityscapes_cars(make_cityscapes(tmp_path, SCENES), "val", "coco")
    # The second car covers columns 40-79, so of the first only rows 20-29 reach column 49.
    assert boxes(records) == [
        [(10, 20, 50, 60), (40, 30, 80, 70)],
        [],
        [(0, 0, 20, 20), (100, 0, 120, 20), (50, 50, 51, 51)],
    ]
    assert [annotation["iscrowd"] for annotation in records[2]["annotations"]] == [1, 1, 0]


def test_da_faster_convention_counts_groups_as_one_car(tmp_path):
    records = cityscapes.load_cityscapes_cars(make_cityscapes(tmp_path, SCENES), "val", "da_faster")
    assert boxes(records) == [[(10, 20, 50, 60), (40, 30, 80, 70)], [], [(0, 0, 120, 20), (50, 50, 51, 51)]]
    assert not any(annotation["iscrowd"] for record in records for annotation in record["annotations"])


def test_both_conventions_agree_on_random_scenes_without_groups(tmp_path):
    rng = np.random.default_rng(0)

    def polygon():
        points = rng.integers(0, [128, 96], 2) + rng.integers(-40, 41, (7, 2))
        return points.clip(0, [127, 95]).tolist()

    labels = ("car", "road", "person", "car")
    folder = make_cityscapes(tmp_path, [[(labels[i % 4], polygon()) for i in range(10)] for _ in range(30)])
    coco, tight = (boxes(cityscapes.load_cityscapes_cars(folder, "val", name)) for name in cityscapes.CONVENTIONS)
    assert sum(map(len, coco)) > 100
    assert [sorted(image) for image in coco] == [sorted(image) for image in tight]


def test_coco_convention_equals_detectron2s_reader(tmp_path, monkeypatch):
    import shapely  # noqa: F401  without it the comparison would be skipped unseen

    labels = pytest.importorskip("cityscapesscripts.helpers.labels")
    # Upstream's main of 2026 imports it by a name inside its authors' company.
    monkeypatch.setitem(sys.modules, f"deeplearning.projects.cityscapesApi.{labels.__name__}", labels)
    from detectron2.data.datasets.cityscapes import load_cityscapes_instances

    folder = make_cityscapes(tmp_path, SCENES[:2])
    for file in folder.glob("gtFine/val/*/*_polygons.json"):  # asked for, not read
        file.with_name(file.name.replace("polygons.json", "labelIds.png")).touch()
    theirs = load_cityscapes_instances(str(folder / "leftImg8bit/val"), str(folder / "gtFine/val"))
    theirs = {record["file_name"]: sorted(a["bbox"] for a in record["annotations"]) for record in theirs}
    for record in cityscapes.load_cityscapes_cars(folder):
        ours = sorted(annotation["bbox"] for annotation in record["annotations"])
        assert np.allclose(ours, theirs[record["file_name"]], atol=0.05)


def test_deleted_objects_and_licence_plates_cover_nothing(tmp_path):
    scene = [
        ("car", rectangle(10, 10, 29, 29)),
        ("road", rectangle(10, 10, 29, 19)),
        ("road", rectangle(10, 10, 19, 29)),
    ]
    folder = make_cityscapes(tmp_path, [scene])
    file = next(folder.glob("gtFine/val/*/*.json"))
    content = json.loads(file.read_text())
    content["objects"][1]["deleted"] = 1
    content["objects"][2]["label"] = "license plate"
    file.write_text(json.dumps(content))
    assert cityscapes.coco_boxes(file)[2] == [((10, 10, 30, 30), 0)]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            lambda c: c["objects"][0].update(polygon=[[1, 2], [3, 4]]),
            r"objects\[0\].polygon is \[\[1, 2\], ",
        ),
        (lambda c: c["objects"][1].update(polygon=[[1, 2], [3, "a"], [5, 6]]), r"objects\[1\].polygon is"),
        (lambda c: c["objects"][1].update(label="Car"), r"objects\[1\].label is 'Car', expected a label of Cityscapes"),
        (lambda c: c.update(imgHeight=-1), "imgHeight is -1, expected a positive integer"),
        (lambda c: c.pop("objects"), "objects is missing"),
        (lambda c: c["objects"][1].update(label=["car"]), r"objects\[1\].label is \['car'\], expected a label"),
        (lambda c: c.update(imgWidth=10**9), "imgWidth x imgHeight is 1000000000 x 96, above 178956970 pixels"),
        (
            lambda c: c["objects"][1].update(polygon=[[1e9, 1], [2, 2], [3, 3]]),
            "pixels up to 1,000,000",
        ),
        (lambda c: c["objects"].extend(c["objects"] * 2000), r"objects has \d+ entries, expected at most 2000"),
        (lambda c: c["objects"][1].update(polygon=[[1, 1]] * 50_001), r"have \d+ points, expected at most 50000"),
    ],
)
def test_broken_polygon_file_is_named_with_field_and_value(tmp_path, change, message):
    file = next(make_cityscapes(tmp_path, SCENES[:1]).glob("gtFine/val/*/*.json"))
    content = json.loads(file.read_text())
    change(content)
    file.write_text(json.dumps(content))
    with pytest.raises(DataError, match=f"polygons.json: .*{message}.*Unpack gtFine"):
        cityscapes.coco_boxes(file)


def test_unreadable_label_files_are_named(tmp_path):
    folder = make_cityscapes(tmp_path, SCENES[:1])
    polygons, ids = (next(folder.glob(f"gtFine/val/*/*{suffix}")) for suffix in (".json", "Ids.png"))
    polygons.write_text("{")
    with pytest.raises(DataError, match=r"polygons.json: cannot be read as JSON"):
        cityscapes.coco_boxes(polygons)
    content = ids.read_bytes()
    ids.write_bytes(content[: len(content) // 2])
    with pytest.raises(DataError, match=r"instanceIds.png: cannot be read as an image"):
        cityscapes.da_faster_boxes(ids)
    picture(0).save(ids)
    with pytest.raises(DataError, match=r"instanceIds.png: has shape \(96, 128, 3\)"):
        cityscapes.da_faster_boxes(ids)
    picture(0).convert("L").save(ids)
    with pytest.raises(
        DataError, match=r"instanceIds.png: has shape \(96, 128\) of uint8, expected .* 16-bit integers"
    ):
        cityscapes.da_faster_boxes(ids)


def test_truncated_image_is_named_by_the_mapper(tmp_path):
    from gcisg_det.mapper import build_mapper

    folder = make_sim10k(tmp_path)
    cfg = tiny_config(tmp_path, tmp_path / "out")
    record = get_detection_dataset_dicts(["sim10k_trainval_car"])[2]
    file = folder / "JPEGImages/0000002.jpg"
    file.write_bytes(file.read_bytes()[:500])
    with pytest.raises(DataError, match=r"0000002.jpg: not a readable image .*(?i:truncated)"):
        build_mapper(cfg, True)(record)
    picture(0, size=(64, 64)).save(file)
    with pytest.raises(DataError, match=r"0000002.jpg: is 64 x 64 pixels, its annotation says 128 x 96. Correct"):
        build_mapper(cfg, False)(record)
