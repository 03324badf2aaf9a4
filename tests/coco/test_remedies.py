"""What the reader of COCO's files tells people to do, done: each message is provoked and followed, and is gone then."""

import json

import pytest
from PIL import Image

from gcisg_core.problems import DataError
from gcisg_suite.audit.coco import audit_coco
from gcisg_suite.coco.load import load_coco, normalise
from tests.coco.files import SIZE, corners, each, ids, make, without, write

NEAR = [(5, 4, 36, 30), (8, 6, 36, 30), (11, 8, 36, 30)]  # fit their images as a corner and a size, and as two corners
FORMAT = "Write the file in COCO's format for detection"
UNIQUE = "Make them unique, or remove the repetitions"
CORRECT = "Correct or remove them"
MASK = "Write polygons of 3 or more points, or run lengths of the image's size"
EITHER = "{} if they are corners; `area` or `segmentation` would make it clear"


def first(part="annotations", **fields):
    return lambda content: content[part][0].update(fields)


def second(part, **fields):
    return lambda content: content[part][1].update(fields)


def drop(part="annotations", place=0):
    return lambda content: content[part].pop(place)


def no_area_nor_outline(boxes):
    """In place of the file's annotations, those of these boxes and of neither an area nor an outline."""

    def change(content):
        content["annotations"] = make(boxes)["annotations"]
        without("area")(content)
        without("segmentation")(content)

    return change


def from_0(content):
    each("id", lambda image: image["id"] - 1, "images")(content)


def as_sizes_with_areas(content):
    each("bbox", as_size)(content)
    each("area", lambda item: item["bbox"][2] * item["bbox"][3])(content)


def shares(item):
    x, y, width, height = item["bbox"]
    return [x / SIZE[0], y / SIZE[1], width / SIZE[0], height / SIZE[1]]


def pixels(item):
    x, y, width, height = item["bbox"]
    return [x * SIZE[0], y * SIZE[1], width * SIZE[0], height * SIZE[1]]


def as_size(item):
    x1, y1, x2, y2 = item["bbox"]
    return [x1, y1, x2 - x1, y2 - y1]


GOOD = make()["annotations"][0]
# What the message says to do, how the file is spoilt, and how the message is followed.
FILES = [
    (FORMAT, lambda c: c.pop("images"), lambda c: c.update(images=make()["images"])),
    (FORMAT, lambda c: c.update(annotations={}), lambda c: c.update(annotations=make()["annotations"])),
    (FORMAT, lambda c: c["annotations"].append(5), drop(place=3)),
    ("Give each a unique id", lambda c: c["images"][1].pop("id"), second("images", id=2)),
    ("Write whole numbers", ids(float), ids(int)),
    ("Write whole numbers", ids("n{}".format), ids(lambda text: int(text[1:]))),
    ("Write strings", first("categories", name=3), first("categories", name="3")),
    ("Name each", lambda c: c["categories"][1].pop("name"), second("categories", name="box")),
    ("Remove the spaces", first("categories", name=" cup"), first("categories", name="cup")),
    (UNIQUE, second("images", id=1), second("images", id=2)),
    (UNIQUE, second("categories", name="cup"), second("categories", name="box")),
    (UNIQUE, lambda c: c["categories"].append(c["categories"][0]), drop("categories", 2)),
    ("Add the missing file names", second("images", file_name=""), second("images", file_name="2.png")),
    ("Write slashes", first("images", file_name="a\\1.png"), first("images", file_name="a/1.png")),
    ("Correct width and height", first("images", width=10**9), first("images", width=SIZE[0])),
    ("Write width and height in pixels", first("images", width=0), first("images", width=SIZE[0])),
    ("Restore the image's entry, or remove the annotation", drop("images"), drop()),
    ("Restore the image's entry", drop("images"), lambda c: c["images"].append(make()["images"][0])),
    ("Add the category to `categories`", drop("categories"), lambda c: c.update(categories=make()["categories"])),
    ("or remove the annotation", first(category_id=9), drop()),
    ("Count both from the same number", each("image_id", lambda a: a["image_id"] - 1), from_0),
    (CORRECT, first(bbox=[1, 2, 3]), first(bbox=GOOD["bbox"])),
    (CORRECT, first(bbox=[30, 30, -5, 5]), drop()),
    (CORRECT, first(bbox=[96, 3, 5, 5]), first(bbox=GOOD["bbox"])),
    ("Clip them in the file", first(bbox=[50, 4, 60, 30]), first(bbox=[50, 4, 46, 30])),
    ("were they drawn at another size?", first(bbox=[50, 4, 60, 90]), first("images", width=192, height=128)),
    ("Write 4 numbers", each("bbox", lambda a: str(a["bbox"])), each("bbox", lambda a: json.loads(a["bbox"]))),
    ("Write `iscrowd`", first(ignore=1), lambda c: (c["annotations"][0].pop("ignore"), first(iscrowd=1)(c))),
    ("Write 0 or 1", without("iscrowd"), each("iscrowd", 0)),
    ("Write 0 or 1", each("iscrowd", "1"), each("iscrowd", 1)),
    ("Write 0 for an object, 1 for a group", first(iscrowd=2), first(iscrowd=0)),
    ("Write the object's number of pixels; COCO's AP for small, medium", without("area"), each("area", 1080)),
    ("Write the object's number of pixels", each("area", 10**9), each("area", 1080)),
    ("Correct them", first(keypoints=["a", 2, 2]), first(keypoints=[1, 2, 2])),
    ("Give each its own id, from 1", each("id", 7),
        lambda c: [a.update(id=n) for n, a in enumerate(c["annotations"], 1)]),
    (MASK, first(segmentation=[[1, 2]]), first(segmentation=GOOD["segmentation"])),
    (MASK, first(segmentation={"size": [9, 9], "counts": [81]}), first(segmentation=GOOD["segmentation"])),
    ("Write [x, y, width, height] in place of [x1, y1, x2, y2]", each("bbox", corners), each("bbox", as_size)),
    (EITHER, no_area_nor_outline(NEAR), each("area", 1080)),
    (EITHER, no_area_nor_outline([*NEAR[:2], (50, 20, 60, 40)]), as_sizes_with_areas),
    (
        "Multiply x and width by the image's width, y and height by its height",
        each("bbox", shares),
        each("bbox", pixels),
    ),
]  # fmt: skip


@pytest.mark.remedy(*FILES)
@pytest.mark.parametrize(("words", "spoil", "follow"), FILES)
def test_what_the_reader_of_a_file_says_is_done(tmp_path, content, words, spoil, follow):
    masks = "polygon" if words is MASK else None
    spoil(content)
    try:
        found = normalise(write(tmp_path, content), tmp_path, masks).findings.problems()
    except DataError as error:
        found = [error.problem]
    assert any(words.removeprefix("{} ") in problem.remedy for problem in found)
    follow(content)
    assert normalise(write(tmp_path, content), tmp_path, masks).findings.problems() == []


@pytest.mark.remedy("({} more kinds of faults: see the audit)")
def test_the_audit_tells_the_other_faults(tmp_path, content):
    content["annotations"][0]["iscrowd"] = 2
    content["categories"][1]["name"] = "cup"
    with pytest.raises(DataError, match=r"\(1 more kinds of faults: see the audit\)"):
        load_coco(write(tmp_path, content))
    told = [problem.what for problem in audit_coco(tmp_path).problems]
    assert ["iscrowd is 2" in what for what in told].count(True) == 1
    assert ["name 'cup' occurs twice" in what for what in told].count(True) == 1


@pytest.mark.remedy("Name the file that has them", "Write width and height", FORMAT)
def test_another_file_and_the_size_of_images(tmp_path, content):
    (tmp_path / "other.json").write_text("{")
    with pytest.raises(DataError, match=FORMAT):
        load_coco(tmp_path / "other.json")
    (tmp_path / "other.json").write_text(json.dumps({**content, "images": []}))
    with pytest.raises(DataError, match="`images` is empty. Name the file that has them"):
        load_coco(tmp_path / "other.json")
    for image in content["images"]:
        Image.new("RGB", SIZE).save(tmp_path / image["file_name"])
    without("width", "images")(content)
    (note,) = load_coco(write(tmp_path, content), tmp_path).findings.problems()
    assert note.remedy == "Write width and height"
    each("width", SIZE[0], "images")(content)
    assert [*load_coco(write(tmp_path, content), tmp_path).findings] == []


@pytest.mark.remedy("Give both files the same names, or remove its annotations")
def test_categories_of_two_files(tmp_path, content):
    def read():
        return load_coco(write(tmp_path, content)).ordered(["cup", "Box"])

    with pytest.raises(DataError, match="Give both files the same names, or remove its annotations"):
        read()
    second("categories", name="Box")(content)
    assert len(read().annotations) == 3
    second("categories", name="box")(content)
    content["annotations"] = [item for item in content["annotations"] if item["category_id"] == 1]
    assert len(read().annotations) == 1


EXPECTED = [
    ("Rename or remove the category", "Cup", ["cup", "box"], first("categories", name="cup")),
    ("Add it to `categories`, with the spelling of the config", "cup", ["cup", "box", "car"], lambda c: (
        c["categories"].append({"id": 3, "name": "car"}), c["annotations"].append({**GOOD, "id": 4, "category_id": 3})
    )),
    ("Write iscrowd 0 where a box is one object", "cup", ["cup", "box"], each("iscrowd", 0)),
]  # fmt: skip


@pytest.mark.remedy(*EXPECTED)
@pytest.mark.parametrize(("words", "name", "classes", "follow"), EXPECTED)
def test_what_the_audit_says_of_categories_is_done(tmp_path, content, words, name, classes, follow):
    for number, image in enumerate(content["images"]):
        Image.effect_noise(SIZE, 40 + 9 * number).convert("RGB").save(tmp_path / image["file_name"])
    content["categories"][0]["name"] = name
    each("iscrowd", int("iscrowd" in words))(content)
    write(tmp_path, content)
    assert words in [problem.remedy for problem in audit_coco(tmp_path, classes=classes).problems]
    follow(content)
    write(tmp_path, content)
    assert audit_coco(tmp_path, classes=classes).problems == []
