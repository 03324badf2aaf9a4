"""The audit of class folders and of VisDA-17 finds every planted fault, and nothing in a good folder."""

import json
import shutil

import numpy as np
import pytest
from PIL import Image

from gcisg_cls.audit import audit_folders, audit_visda17
from gcisg_cls.datasets import VISDA17_CLASSES
from tests.command import gcisg


def picture(path, seed):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.random.default_rng(seed).integers(0, 256, (8, 8, 3), np.uint8)).save(path)


@pytest.fixture
def visda(tmp_path):
    """Two images of each class in `train`, listed."""
    lines = []
    for label, name in enumerate(VISDA17_CLASSES):
        for number in range(2):
            picture(tmp_path / "train" / name / f"{number}.png", 10 * label + number)
            lines.append(f"{name}/{number}.png {label}")
    (tmp_path / "train" / "image_list.txt").write_text("\n".join(lines) + "\n")
    return tmp_path


def test_nothing_is_found_in_a_good_folder(visda):
    result = audit_visda17(visda)
    assert result.problems == []
    assert result.counts["train"] == 24
    assert result.counts["train/car"] == 2


@pytest.mark.parametrize("workers", [1, 2])
def test_every_planted_fault_is_found_and_named(visda, workers):
    train = visda / "train"
    content = (train / "car" / "0.png").read_bytes()
    (train / "car" / "0.png").write_bytes(content[: len(content) // 2])
    shutil.copy(train / "bus" / "0.png", train / "bus" / "1.png")
    Image.new("RGB", (8, 8)).save(train / "horse" / "0.png")
    listed = train / "image_list.txt"
    lines = listed.read_text().splitlines()
    lines[lines.index("knife/0.png 5")] = "knife/0.png 4"
    lines[lines.index("plant/0.png 8")] = "plant/0.png 12"
    lines[lines.index("train/0.png 10")] = "train/9.png 10"
    listed.write_text("\n".join([*lines, "no label", "truck/0.png 11"]) + "\n")
    found = {problem.file: problem.what for problem in audit_visda17(visda, workers).problems}
    expected = {
        "car/0.png": "not a readable image", "bus/1.png": "the same file as", "horse/0.png": "every pixel",
        f"image_list.txt line {lines.index('knife/0.png 4') + 1}": "label 4 is 'horse' but the folder is 'knife'",
        f"image_list.txt line {lines.index('plant/0.png 12') + 1}": "label 12 is out of range, expected 0 to 11",
        f"image_list.txt line {lines.index('train/9.png 10') + 1}": "'train/9.png' does not exist",
        f"image_list.txt line {len(lines) + 1}": "not of the form",
        "image_list.txt": "'truck/0.png' is listed twice", "train": "1 of 2 images are not in image_list.txt",
    }  # fmt: skip
    assert found.keys() == {str(train / name) for name in expected}
    assert all(what in found[str(train / name)] for name, what in expected.items())


def test_images_of_two_parts_are_compared_and_unlisted_ones_counted(visda):
    shutil.copytree(visda / "train", visda / "validation")
    for number, path in enumerate(sorted((visda / "validation").rglob("*.png"))):
        picture(path, 1000 + number)
    shutil.copy(visda / "train" / "car" / "0.png", visda / "validation" / "bus" / "1.png")
    picture(visda / "validation" / "bus" / "7.png", 7)
    first, second = audit_visda17(visda).problems
    assert (first.file, first.what) == (
        str(visda / "validation" / "bus"), "1 of 3 images are not in image_list.txt, such as bus/7.png"
    )  # fmt: skip
    assert (second.file, "the same file as" in second.what) == (str(visda / "validation/bus/1.png"), True)


def test_listing_and_comparing_show_what_they_do(visda, capsys, slow):
    shutil.copytree(visda / "train", visda / "validation")
    audit_visda17(visda)
    err = capsys.readouterr().err
    assert f"checking the images of {visda}/train/image_list.txt: 1 of 24" in err
    assert "searching for near-duplicates: 2 of 24" in err
    assert audit_folders(visda / "train" / "car").problems
    assert f"listing {visda}/train/car: 1 folder so far" in capsys.readouterr().err


def test_a_folder_of_one_class_is_found(tmp_path):
    picture(tmp_path / "cat" / "0.png", 0)
    assert [problem.what for problem in audit_folders(tmp_path).problems] == ["every image has the class 'cat'"]


def test_parts_of_a_data_set_are_no_classes(tmp_path):
    for number, name in enumerate(("train/cat", "train/dog", "valid/cat", "valid/dog")):
        picture(tmp_path / name / "1.png", number)
    (problem,) = audit_folders(tmp_path).problems
    assert problem.what == "its folders train, valid are parts of a data set by their names, expected classes"
    assert problem.remedy == f"Name one of them instead: {tmp_path / 'train'}"
    assert audit_folders(tmp_path / "train").problems == []


def test_an_empty_class_of_ones_own_folder_is_found(tmp_path):
    picture(tmp_path / "cat" / "0.png", 0)
    (tmp_path / "dog").mkdir()
    result = audit_folders(tmp_path)
    assert [problem.what for problem in result.problems] == ["class 'dog' (label 1) has no image"]
    assert result.counts == {tmp_path.name: 1, f"{tmp_path.name}/cat": 1, f"{tmp_path.name}/dog": 0}


def test_a_wrong_folder_and_the_command(tmp_path, visda):
    (tmp_path / "elsewhere").mkdir()
    wrong = gcisg("audit", "--json", "--dataset", "visda17", "--root", tmp_path / "elsewhere")
    assert wrong.code == 1
    assert "does not hold the folders train" in json.loads(wrong.out)["problems"][0]["what"]
    right = gcisg("audit", "--json", "--dataset", "visda17", "--root", visda)
    assert (right.code, json.loads(right.out)["counts"]["train"]) == (0, 24)
