"""What other programs write is read as they mean it, and each repair is counted; what has two meanings is refused."""

import numpy as np
import pytest
from PIL import Image

from gcisg_core.problems import DataError
from gcisg_suite.coco.findings import Level
from gcisg_suite.coco.load import load_coco, normalise
from tests.coco.files import REPAIRS, SIZE, categories, each, ids, lines, make, read, without, write


def test_a_good_file_is_taken_as_it_is(tmp_path, content):
    data = read(tmp_path, content, masks="polygon")
    assert [*data.findings] == []
    assert {name: data.content[name] for name in content} == content
    assert data.classes == ["cup", "box"]


@pytest.mark.parametrize("case", REPAIRS)
def test_what_has_one_meaning_is_read_so_and_counted(tmp_path, content, case):
    change, note = REPAIRS[case]
    change(content)
    data = read(tmp_path, content, masks="polygon")
    expected = make()
    if case == "backslashes":
        each("file_name", lambda item: f"./{item['id']}.png", "images")(expected)
    for name, items in expected.items():
        assert data.content[name] == items, name
    notes = lines(data, Level.REPAIRED)
    assert sum(note in line for line in notes) == 1 if note else not notes
    assert lines(data, Level.LEFT_OUT) == []


@pytest.mark.parametrize("value", ["a", "007", 2**60, 1e300, str(2**60)])
def test_ids_that_no_tool_keeps_are_numbered_in_order(tmp_path, content, value):
    content["images"][1]["id"] = content["annotations"][1]["image_id"] = value
    data = read(tmp_path, content)
    assert [item["id"] for item in data.images] == [1, 2, 3]
    assert [item["image_id"] for item in data.annotations] == [1, 2, 3]
    assert any("all are renumbered from 1 in the file's order" in line for line in lines(data, Level.REPAIRED))


def test_gaps_and_zero_in_ids_of_images_and_categories_stay(tmp_path, content):
    ids(lambda number: {1: 0, 2: 17, 3: 900}[number])(content)
    categories(lambda number: {1: 0, 2: 40}[number])(content)
    data = read(tmp_path, content)
    assert [item["id"] for item in data.images] == [0, 17, 900]
    assert {item["category_id"] for item in data.annotations} == {0, 40}
    assert [*data.findings] == []


# Situation -> (how it is written, what is left of the annotations, what the line must say).
LEFT_OUT = {
    "NaN": (lambda c: c["annotations"][0].update(bbox=[1, 2, float("nan"), 4]), "expected 4 finite numbers"),
    "inf": (lambda c: c["annotations"][0].update(bbox=[1, 2, float("inf"), 4]), "expected 4 finite numbers"),
    "too large for a float": (lambda c: c["annotations"][0].update(bbox=[1, 2, 10**400, 4]), "unusable boxes"),
    "null": (lambda c: c["annotations"][0].update(bbox=None), "annotation 1: bbox is None, expected 4 finite"),
    "bool": (lambda c: c["annotations"][0].update(bbox=[True, 2, 3, 4]), "bbox is [True, 2, 3, 4]"),
    "empty": (lambda c: c["annotations"][0].update(bbox=[]), "bbox is [], expected 4"),
    "missing": (lambda c: c["annotations"][0].pop("bbox"), "bbox is None"),
    "object": (lambda c: c["annotations"][0].update(bbox={"x": 1}), "bbox is {'x': 1}"),
    "words": (lambda c: c["annotations"][0].update(bbox="a b c d"), "bbox is 'a b c d'"),
    "negative width": (lambda c: c["annotations"][0].update(bbox=[30, 30, -5, 5]), "boxes without area, left out: 1"),
    "no height": (lambda c: c["annotations"][0].update(bbox=[30, 30, 5, 0]), "bbox [30, 30, 5, 0] has no area"),
    "outside": (lambda c: c["annotations"][0].update(bbox=[96, 3, 5, 5]), "lies outside its image of 96 x 64"),
    "unknown image": (lambda c: c["annotations"][0].update(image_id=7), "image_id 7 is not in `images`"),
    "image null": (lambda c: c["annotations"][0].update(image_id=None), "image_id None is not in `images`"),
    "image bool": (lambda c: c["annotations"][0].update(image_id=True), "image_id True is not in `images`"),
    "image list": (lambda c: c["annotations"][0].update(image_id=[1]), "image_id [1] is not in `images`"),
    "image 1.5": (lambda c: c["annotations"][0].update(image_id=1.5), "image_id 1.5 is not in `images`"),
}


@pytest.mark.parametrize("case", LEFT_OUT)
def test_what_cannot_be_trained_on_is_left_out_in_one_line(tmp_path, content, case):
    change, line = LEFT_OUT[case]
    change(content)
    data = read(tmp_path, content)
    assert [item["id"] for item in data.annotations] == [2, 3]
    assert [line in found for found in lines(data, Level.LEFT_OUT)] == [True]


def test_boxes_that_reach_outside_are_clipped_and_rounding_is_kept(tmp_path, content):
    content["annotations"][0]["bbox"] = [-5, 4, 36, 1e300]
    content["annotations"][1]["bbox"] = [-0.5, 6, 36, 30]
    data = read(tmp_path, content)
    assert [item["bbox"] for item in data.annotations[:2]] == [[0, 4, 31, 60], [-0.5, 6, 36, 30]]
    assert lines(data, Level.LEFT_OUT) == [
        "boxes that reach outside their images, clipped: 1, such as annotation 1: bbox [-5, 4, 36, 1e+300] reaches "
        "outside its image of 96 x 64"
    ]


# Situation -> (how it is written, what the error must say).
REFUSED = {
    "two images of an id": (lambda c: c["images"][1].update(id=1), "id 1 occurs twice, for '1.png' and '2.png'"),
    "1 and 1.0": (lambda c: c["images"][1].update(id=1.0), "images: id 1 occurs twice"),
    "image without id": (lambda c: c["images"][1].pop("id"), "images[1].id is None, expected a whole number or a"),
    "image id NaN": (lambda c: c["images"][1].update(id=float("nan")), "images[1].id is nan"),
    "image id bool": (lambda c: c["images"][1].update(id=True), "images[1].id is True"),
    "image without file": (lambda c: c["images"][1].pop("file_name"), "images[1].file_name is None"),
    "file a number": (lambda c: c["images"][1].update(file_name=3), "images[1].file_name is 3"),
    "no size": (lambda c: c["images"][1].pop("width"), "images[1]: width None, height 64, expected pixels"),
    "size 0": (lambda c: c["images"][1].update(height=0), "images[1]: width 96, height 0, expected pixels"),
    "unknown category": (lambda c: c["annotations"][0].update(category_id=9), "annotation 1: category_id 9 is not in"),
    "category null": (lambda c: c["annotations"][0].update(category_id=None), "category_id None is not in"),
    "category bool": (lambda c: c["annotations"][0].update(category_id=True), "category_id True is not in"),
    "two categories of an id": (lambda c: c["categories"][1].update(id=1), "id 1 occurs twice, as 'cup' and 'box'"),
    "two of a name": (lambda c: c["categories"][1].update(name="cup"), "name 'cup' occurs twice, with the ids 1 and 2"),
    "no name": (lambda c: c["categories"][1].pop("name"), "categories[1].name is None, expected a string"),
    "iscrowd 2": (lambda c: c["annotations"][0].update(iscrowd=2), "annotation 1: iscrowd is 2, expected 0 or 1"),
    "iscrowd list": (lambda c: c["annotations"][0].update(iscrowd=[]), "annotation 1: iscrowd is [], expected 0 or 1"),
    "fractions": (each("bbox", [0.1, 0.2, 0.5, 0.5]), "numbers between 0 and 1: 3, such as annotation 1"),
    "images from 1, boxes from 0": (each("image_id", lambda a: a["image_id"] - 1), "seem to count from 0, while the"),
    "no object": (lambda c: c["annotations"].append(5), "annotations[3] is 5, expected an object"),
    "no list": (lambda c: c.update(annotations={}), "`annotations` is {}, expected a list"),
    "no categories": (lambda c: c.update(categories=[]), "`categories` is empty"),
    "missing list": (lambda c: c.pop("images"), "`images` is missing, expected a list"),
}  # fmt: skip


@pytest.mark.parametrize("case", REFUSED)
def test_what_has_no_or_two_meanings_is_refused_with_file_field_and_value(tmp_path, content, case):
    change, message = REFUSED[case]
    change(content)
    with pytest.raises(DataError) as error:
        read(tmp_path, content)
    assert message in str(error.value)
    assert error.value.problem.file == str(tmp_path / "own.json")
    assert error.value.problem.remedy


@pytest.mark.parametrize("text", [b"", b"{", b"[1]", b"3", b"\xff\xfe\x00", b"[" * 100_000, b"1" * 5000])
def test_a_file_that_is_no_such_json_is_named(tmp_path, text):
    (tmp_path / "own.json").write_bytes(text)
    with pytest.raises(DataError, match=r"own.json: (cannot be read as JSON|holds)"):
        load_coco(tmp_path / "own.json")


@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16", "utf-16-le"])
def test_files_as_windows_writes_them(tmp_path, content, encoding):
    assert len(load_coco(write(tmp_path, content, encoding)).annotations) == 3


class TestOrder:
    """The labels of one file in the order of another's."""

    def test_categories_are_matched_by_name(self, tmp_path, content):
        data = read(tmp_path, content).ordered(["box", "cup"])
        names = {item["id"]: item["name"] for item in data.categories}
        assert data.classes == ["box", "cup"]
        assert [*names] == sorted(names)  # pycocotools and the framework number the labels by ids
        assert [names[item["category_id"]] for item in data.annotations] == ["box", "cup", "box"]

    def test_a_class_that_the_file_lacks_has_no_box(self, tmp_path, content):
        data = read(tmp_path, content).ordered(["car", "cup", "box"])
        assert data.classes == ["car", "cup", "box"]
        assert [item["category_id"] for item in data.annotations] == [3, 2, 3]

    def test_an_unused_category_is_dropped_and_a_used_one_refused(self, tmp_path, content):
        content["categories"].append({"id": 0, "name": "things"})
        data = read(tmp_path, content)
        assert data.ordered(["cup", "box"]).content["annotations"] == data.content["annotations"]
        with pytest.raises(DataError, match=r"category 'box' is not one of the classes trained on, which are cup, Box"):
            data.ordered(["cup", "Box"])


def test_a_missing_size_is_that_of_the_displayed_image(tmp_path, content):
    for image in content["images"]:
        Image.new("RGB", SIZE).save(tmp_path / image["file_name"])
    sideways = Image.new("RGB", SIZE[::-1])
    exif = sideways.getexif()
    exif[0x0112] = 6
    sideways.save(tmp_path / "1.png", exif=exif)
    without("width", "images")(content)
    data = read(tmp_path, content)
    assert [(item["width"], item["height"]) for item in data.images] == [SIZE] * 3
    assert lines(data, Level.REPAIRED) == [
        "images without a size, taken from the file: 3, such as images[0]: width None, height 64; "
        "images[1]: width None, height 64; images[2]: width None, height 64"
    ]


def test_ignored_boxes_are_groups(tmp_path, content):
    content["annotations"][0].update(ignore=1)
    data = read(tmp_path, content)
    assert [item["iscrowd"] for item in data.annotations] == [1, 0, 0]
    assert "annotations with `ignore` 1, taken as `iscrowd` 1: 1" in lines(data, Level.REPAIRED)[0]


def test_the_audit_gets_all_that_is_refused_and_training_the_first(tmp_path, content):
    content["annotations"][0]["iscrowd"] = 2
    content["categories"][1]["name"] = "cup"
    data = normalise(write(tmp_path, content), tmp_path)
    assert len(data.findings.problems(Level.REFUSED)) == 2
    with pytest.raises(DataError, match=r"1 more kinds of faults"):
        read(tmp_path, content)


STRANGE = [None, True, 0, -1, 3.0, 1.5, float("nan"), float("inf"), 1e300, 10**30, 10**400, "", " ", "1", "x", "\0",
           [], [1], [[]], [1, 2, 3, 4], ["a"], {}, {"a": 1}, "[1,2,3,4]"]  # fmt: skip


@pytest.mark.parametrize("masks", [None, "polygon", "bitmask"])
@pytest.mark.parametrize("part", ["images", "annotations", "categories"])
def test_any_value_anywhere_is_an_error_that_names_it_or_data_in_cocos_form(tmp_path, part, masks):
    outcomes = set()
    for field in [*make()[part][0], "ignore", "keypoints"]:
        for value in STRANGE:
            content = make()
            content[part][0][field] = value
            try:
                data = read(tmp_path, content, masks=masks)
            except DataError as error:
                outcomes.add(f"{error.problem.what.partition(':')[0]}")
                continue
            ids = [[item["id"] for item in data.content[name]] for name in ("images", "annotations", "categories")]
            assert all(type(number) is int for numbers in ids for number in numbers)
            assert all(len(set(numbers)) == len(numbers) for numbers in ids)
            assert all(number > 0 for number in ids[1])
            for item in data.annotations:
                assert (item["image_id"] in ids[0], item["category_id"] in ids[2]) == (True, True)
                assert np.isfinite([*item["bbox"], item["area"]]).all()
                assert min(*item["bbox"][2:], item["area"]) > 0
                assert type(item["iscrowd"]) is int
                assert ("segmentation" in item) == bool(masks)
                assert all(len(item.get("keypoints", ())) % 3 == 0 for item in data.annotations)
    assert outcomes
