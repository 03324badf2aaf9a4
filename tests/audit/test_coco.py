"""Every planted fault of a COCO file and its images is found, alone, and named."""

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from gcisg_suite.audit.coco import audit_coco
from tests.command import gcisg

TOOL = Path(__file__).parents[2] / "tools" / "audit_data.py"


def box(number, image=1, category=1, bbox=(1, 2, 10, 8)):
    x, y, width, height = bbox
    return {"id": number, "image_id": image, "category_id": category, "bbox": [x, y, width, height],
            "area": width * height, "iscrowd": 0}  # fmt: skip


@pytest.fixture
def content(tmp_path):
    """Three images of 32 x 24 pixels, the last without a box, and three boxes of two categories."""
    for number in (1, 2, 3):
        pixels = np.random.default_rng(number).integers(0, 256, (24, 32, 3), np.uint8)
        Image.fromarray(pixels).save(tmp_path / f"{number}.png")
    images = [{"id": number, "file_name": f"{number}.png", "width": 32, "height": 24} for number in (1, 2, 3)]
    categories = [{"id": 1, "name": "car"}, {"id": 2, "name": "van"}]
    return {"images": images, "annotations": [box(1), box(2, category=2), box(3, image=2)], "categories": categories}


def audit(tmp_path, content, **options):
    (tmp_path / "own.json").write_text(json.dumps(content))
    return audit_coco(tmp_path, **options)


def test_nothing_is_found_in_good_data_and_boxes_are_counted_by_category(tmp_path, content):
    result = audit(tmp_path, content, workers=2, classes=["car", "van"])
    assert result.problems == []
    assert result.counts == {"images": 3, "images without a box": 1, "boxes": 3, "boxes/car": 2, "boxes/van": 1}


# Fault -> (how to plant it, what the message must say).
FAULTS = {
    "missing image": (lambda c: c["images"][2].update(file_name="9.png"), "9.png: is listed"),
    "other size": (lambda c: c["images"][2].update(width=64), "3.png: is 32 x 24 pixels, the JSON file says 64 x 24"),
    "repeated image id": (lambda c: c["images"][2].update(id=2), "images: id 2 occurs twice"),
    "repeated name": (lambda c: c["images"].append({**c["images"][0], "id": 4}), "file_name '1.png' occurs twice"),
    "no file name": (lambda c: c["images"][2].pop("file_name"), "images[2].file_name is None"),
    "repeated category": (lambda c: c["categories"].append({"id": 2, "name": "bus"}), "categories: id 2 occurs"),
    "unused category": (lambda c: c["categories"].append({"id": 3, "name": "bus"}), "'bus' has no annotation"),
    "no such image": (lambda c: c["annotations"].append(box(4, image=7)), "annotation 4: image_id 7 is not in"),
    "no such category": (lambda c: c["annotations"].append(box(4, category=7)), "category_id 7 is not in"),
    "no width": (lambda c: c["annotations"].append(box(4, bbox=(3, 3, 0, 5))), "bbox [3, 3, 0, 5] has no area"),
    "negative": (lambda c: c["annotations"].append(box(4, bbox=(3, 3, 5, -1))), "has no area"),
    "three numbers": (lambda c: c["annotations"][0].update(bbox=[1, 2, 3]), "annotation 1: bbox is [1, 2, 3]"),
    "not finite": (lambda c: c["annotations"][0].update(bbox=[1, 2, float("nan"), 3]), "expected 4 finite numbers"),
    "outside": (lambda c: c["annotations"].append(box(4, bbox=(40, 3, 5, 5))), "lies outside its image of 32 x 24"),
    "partly outside": (lambda c: c["annotations"].append(box(4, bbox=(30, 3, 5, 5))), "reaches outside its image"),
    "groups alone": (lambda c: c["annotations"][1].update(iscrowd=1), "'van' has no box to train on: all 1 are"),
    "nonsense as iscrowd": (lambda c: c["annotations"][0].update(iscrowd="x"), "iscrowd is 'x', expected 0 or 1"),
    "next image": (lambda c: c["annotations"][0].update(image_id=0), "image_id 0 is not in `images`"),
    "list as id": (lambda c: c["annotations"][0].update(image_id=[1]), "annotation 1: image_id [1] is not in"),
}  # fmt: skip


@pytest.mark.parametrize("fault", FAULTS)
def test_each_fault_of_the_file_is_one_line(tmp_path, content, fault):
    plant, message = FAULTS[fault]
    plant(content)
    lines = [str(problem) for problem in audit(tmp_path, content).problems]
    # image_id 0 beside ids from 1 on also says that one of them counts from elsewhere.
    assert message in lines[0] if fault == "next image" else [message in line for line in lines] == [True]


REPAIRS = {
    "no area": (lambda c: c["annotations"][0].pop("area"), "without `area`, taken as width times height: 1"),
    "no iscrowd": (lambda c: c["annotations"][0].pop("iscrowd"), "annotations without `iscrowd`, taken as 0: 1"),
    "repeated box id": (lambda c: c["annotations"][1].update(id=1), "annotations: id 1 occurs twice"),
    "no size": (lambda c: c["images"][2].pop("width"), "images[2]: width None, height 24"),
    "text": (lambda c: c["annotations"][0].update(bbox="1,2,10,8"), "boxes written as strings, read as numbers: 1"),
    "no mask": (lambda c: c["annotations"][0].update(segmentation=[[1, 2]]), "without a mask head only boxes count: 1"),
}  # fmt: skip


@pytest.mark.parametrize("repair", REPAIRS)
def test_what_the_reader_repairs_is_a_note_and_no_problem(tmp_path, content, repair):
    plant, message = REPAIRS[repair]
    plant(content)
    result = audit(tmp_path, content)
    assert result.problems == []
    assert [message in str(note) for note in result.notes] == [True]
    assert result.counts["boxes"] == 3


def test_boxes_written_as_corners_are_read_so_in_one_note(tmp_path, content):
    content["annotations"] = [box(number, bbox=(15, 10, 30, 20)) for number in (1, 2, 3)]
    content["categories"].pop()
    result = audit(tmp_path, content)
    assert result.problems == []
    assert "3 of 3 boxes reach outside as [x, y, width, height], 0 as corners" in result.notes[0].what


def test_the_audit_counts_what_training_keeps(tmp_path, content):
    content["annotations"] += [box(4, image=9), box(5, bbox=(3, 3, 0, 5)), box(6, image=3) | {"iscrowd": 1}]
    result = audit(tmp_path, content)
    assert [problem.what.split(":")[0] for problem in result.problems] == [
        "annotations whose image is not listed, left out", "boxes without area, left out",
    ]  # fmt: skip
    assert result.counts == {
        "images": 3, "images without a box": 0, "boxes": 3, "groups (iscrowd)": 1, "boxes/car": 2, "boxes/van": 1
    }  # fmt: skip


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("{", "cannot be read as JSON"), ("[]", "holds [], expected an object with images"),
        ('{"images": [{}], "annotations": 3, "categories": [{}]}', "`annotations` is 3, expected a list"),
        ('{"images": [{}], "annotations": [], "categories": []}', "`categories` is empty"),
    ],
)  # fmt: skip
def test_a_file_that_is_not_of_the_format_is_named(tmp_path, text, message):
    (tmp_path / "own.json").write_text(text)
    (problem,) = audit_coco(tmp_path).problems
    assert problem.file == str(tmp_path / "own.json")
    assert message in problem.what


def test_a_file_without_annotations_is_one_line(tmp_path, content):
    (problem,) = audit(tmp_path, {**content, "annotations": []}).problems
    assert "has no annotation that can be used" in problem.what


def test_damaged_copied_and_flat_images_are_found(tmp_path, content):
    (tmp_path / "2.png").write_bytes((tmp_path / "1.png").read_bytes())
    Image.new("RGB", (32, 24)).save(tmp_path / "3.png")
    found = {Path(problem.file).name: problem.what for problem in audit(tmp_path, content, workers=2).problems}
    assert found.keys() == {"2.png", "3.png"}
    assert "the same file as" in found["2.png"]
    assert "every pixel has the same colour" in found["3.png"]
    (tmp_path / "3.png").write_bytes(b"")
    assert "0 bytes" in audit(tmp_path, content).problems[0].what


def test_expected_names_that_are_not_there_are_named_in_the_command(tmp_path, content):
    (tmp_path / "own.json").write_text(json.dumps(content))
    command = [sys.executable, TOOL, "--dataset", "coco", "--root", tmp_path, "--classes", "Car", "van"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    lines, tables, summary = (text := done.stdout.splitlines())[:2], text[2:-1], text[-1]
    assert done.returncode == 1
    assert [line.partition(": ")[2].partition(".")[0] for line in lines] == [
        "category 'car' is not one of the expected Car, van", "category 'Car' is missing",
    ]  # fmt: skip
    assert [tables[number].split() for number in (0, 2, 3)] == [["class", "boxes"], ["car", "2"], ["van", "1"]]
    assert [line.split()[-1] for line in tables[-2:]] == ["1", "1"]
    assert summary.endswith("2 problems; found: images 3, images without a box 1, boxes 3")
    refused = gcisg("audit", "--dataset", "coco", "--root", tmp_path, "--num-classes", 3)
    assert (refused.code, "--num-classes does not apply to --dataset coco" in refused.err) == (2, True)
