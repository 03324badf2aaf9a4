"""The audits of Sim10k and Cityscapes find planted faults, and reading shows its progress."""

import pytest

pytest.importorskip("detectron2")
from gcisg_det.audit import audit_cityscapes_boxes, audit_sim10k
from gcisg_det.datasets import cityscapes, sim10k
from tests.detection.scenes import SCENES, make_cityscapes, make_sim10k, picture, voc_object


def test_audit_finds_planted_faults_and_counts(tmp_path):
    faults = {
        1: voc_object((9, 9, 3, 3)) + voc_object((1, 1, 9, 9)),
        2: "<object>",
        3: voc_object((1, 1, 9, 9), "person"),
        5: voc_object((-9, 1, 9, 9)),
        6: voc_object((1, 1, 9, 9), "Car"),
    }
    folder = make_sim10k(tmp_path, 8, faults)
    file = folder / "JPEGImages/0000004.jpg"
    file.write_bytes(file.read_bytes()[:500])
    with (folder / "ImageSets/Main/trainval10k.txt").open("a") as listing:
        listing.write("0000005\n")
    (folder / "JPEGImages/0000007.jpg").write_bytes((folder / "JPEGImages/0000000.jpg").read_bytes())
    (folder / "Annotations/spare.xml").write_text("<annotation/>")
    result = audit_sim10k(tmp_path / "sim10k", workers=2)
    found = [str(problem) for problem in result.problems]
    expected = [
        "0000001.xml: bndbox (9.0, 9.0, 3.0, 3.0) has no area", "0000002.xml: cannot be read",
        "0000004.jpg: not a readable image", "0000005.xml: bndbox (-9.0, 1.0, 9.0, 9.0) reaches 10 pixels outside",
        "0000006.xml: object[0]/name is 'Car', expected one of car, motorbike, person",
        "0000007.jpg: the same file as", "Annotations: 1 files have no counterpart in JPEGImages, such as spare",
        "lists 0000005 more",
    ]  # fmt: skip
    assert len(found) == 8
    assert all(text in line for text, line in zip(expected, found, strict=True))
    assert result.counts == {
        "images": 8, "car_boxes": 5, "dropped_degenerate": 1, "images_without_cars": 1, "other_person": 1
    }  # fmt: skip


def test_reading_shows_what_it_does(root, capsys, slow):
    sim10k.load_sim10k(root / "sim10k/VOC2012")
    assert f"reading the boxes of {root}/sim10k/VOC2012: 1 of 6" in capsys.readouterr().err
    cityscapes.load_cityscapes_cars(root / "cityscapes")
    err = capsys.readouterr().err
    for what in ("checking the images of", "reading the boxes of"):
        assert f"{what} {root}/cityscapes: 1 of 3" in err


def test_audit_of_cityscapes_counts_both_conventions(tmp_path):
    folder = make_cityscapes(tmp_path, SCENES)
    assert audit_cityscapes_boxes(folder, workers=1).problems == []  # val alone, as for a target
    make_cityscapes(tmp_path / "other", SCENES, split="train", city="ulm")
    for part in ("leftImg8bit", "gtFine"):
        (tmp_path / "other/cityscapes" / part / "train").rename(folder / part / "train")
    result = audit_cityscapes_boxes(folder, workers=1)
    assert result.problems == []
    assert result.counts["val_images"] == 3
    assert (result.counts["val_coco_cars"], result.counts["val_coco_groups_iscrowd"]) == (3, 2)
    assert result.counts["val_da_faster_cars"] == 4
    picture(0, size=(9, 9)).save(next(folder.glob("leftImg8bit/val/*/*.png")))
    problems = audit_cityscapes_boxes(folder, workers=1).problems
    assert [problem.what for problem in problems] == ["is 9 x 9 pixels, its annotation says 128 x 96"]
    train, val = (next(folder.glob(f"leftImg8bit/{split}/*/*.png")) for split in ("train", "val"))
    val.write_bytes(train.read_bytes())
    next(folder.glob("gtFine/val/*/*instanceIds.png")).unlink()
    for file in folder.glob("gtFine/train/*/*polygons.json"):
        file.write_text(file.read_text().replace('"car"', '"bus"'))
    found = [problem.what for problem in audit_cityscapes_boxes(folder, workers=2).problems]
    assert [what.partition("(")[0].partition(str(folder))[0].strip() for what in found] == [
        "cannot be read as an image", "the same file as", "no image has a car",
    ]  # fmt: skip
    assert len(audit_cityscapes_boxes(tmp_path / "nowhere").problems) == 2
    assert "Download" in audit_cityscapes_boxes(tmp_path / "nowhere").problems[0].remedy
