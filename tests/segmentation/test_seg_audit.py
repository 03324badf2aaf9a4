"""The auditor finds what training would trip over, without a framework."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from scipy.io import savemat

from gcisg_core.problems import DataError
from gcisg_seg.audit import audit_bdd100k, audit_cityscapes, audit_gtav, audit_mapillary, audit_pairs
from gcisg_seg.datasets import GTAVDataset
from tests.command import gcisg
from tests.segmentation.conftest import SIZE, _save


def totals(result):
    return {name: count for name, count in result.counts.items() if "/" not in name}


def test_sound_folders_have_no_problem(gtav, cityscapes):
    savemat(gtav / "split.mat", {"trainIds": [[1], [3]], "valIds": [[2]], "testIds": [[4]]})
    result = audit_gtav(gtav)
    assert (result.problems, totals(result)) == ([], {"all": 4, "train": 2, "val": 1, "test": 1})
    result = audit_cityscapes(cityscapes)
    assert (result.problems, totals(result)) == ([], {"train": 2, "val": 2})
    assert result.counts["val/traffic light"] == 2  # the labels are noise: each shows every class


def test_listing_and_comparing_show_what_they_do(gtav, cityscapes, capsys, slow):
    audit_gtav(gtav)
    assert f"listing {gtav}/images: 1 folder so far" in capsys.readouterr().err
    audit_cityscapes(cityscapes)
    assert f"listing {cityscapes}/gtFine/val: 1 folder so far" in capsys.readouterr().err
    for path in (gtav / "labels").iterdir():
        _save(path, np.full(SIZE, 255, np.uint8))
    audit_pairs(gtav, num_classes=2)
    assert "reading labels, to find their values: 1 of 4" in capsys.readouterr().err


def test_each_fault_is_listed_once(gtav, fault):
    path, message = fault
    (problem,) = audit_gtav(gtav).problems
    assert problem.file == str(path)
    assert message in problem.what
    assert problem.remedy


def test_two_processes_find_the_same_faults_as_one(gtav):
    (gtav / "images" / "00001.png").write_text("")
    (gtav / "labels" / "00003.png").unlink()
    alone = audit_gtav(gtav, workers=1)
    assert len(alone.problems) == 2
    assert audit_gtav(gtav, workers=2) == alone


def test_image_and_label_of_a_pair_are_both_listed(gtav):
    (gtav / "images" / "00001.png").write_text("")
    (gtav / "labels" / "00001.png").write_text("")
    assert [Path(p.file).parent.name for p in audit_gtav(gtav).problems] == ["images", "labels"]


@pytest.mark.remedy("Download the missing parts, or use split='all'")
def test_split_file_that_names_absent_pairs_is_a_problem(gtav):
    savemat(gtav / "split.mat", {"trainIds": [[1], [9]], "valIds": [[2]]})
    first, second = audit_gtav(gtav).problems
    assert "1 of the 2 pairs of split train" in first.what
    assert "testIds" in second.what
    with pytest.raises(DataError, match="00009"):
        GTAVDataset(str(gtav), split="train")
    assert len(GTAVDataset(str(gtav), split="all")) == 4
    for part, suffix in (("images", ".png"), ("labels", ".png")):  # fetched
        shutil.copy(gtav / part / f"00001{suffix}", gtav / part / f"00009{suffix}")
    assert len(GTAVDataset(str(gtav), split="train")) == 2


def test_cityscapes_of_one_split_is_in_order_and_none_is_not(cityscapes, tmp_path):
    for folder in ("leftImg8bit", "gtFine"):
        (cityscapes / folder / "train").rename(tmp_path / folder)
    assert totals(audit_cityscapes(cityscapes)) == {"val": 2}
    assert audit_cityscapes(cityscapes).problems == []
    assert [p.what for p in audit_cityscapes(tmp_path / "data").problems] == ["no such folder"] * 2


def noise(path, high, seed):
    """An image, or with less than 256 values a label, of random values."""
    shape = SIZE if high < 256 else (*SIZE, 3)
    _save(path, np.random.default_rng(seed).integers(0, high, shape, np.uint8))


# Data set -> its audit, an image and its label in its layout, the label's number of values, the first split's name.
OTHERS = {
    "bdd100k": (audit_bdd100k, "images/10k/{}/{}.jpg", "labels/sem_seg/masks/{}/{}.png", 19, ("train", "val")),
    "mapillary": (audit_mapillary, "{}/images/{}.jpg", "{}/v1.2/labels/{}.png", 66, ("training", "validation")),
}


@pytest.fixture(params=OTHERS)
def other(request, tmp_path):
    """Two pairs in each split of a further target, and what is needed to plant faults in them."""
    audit, image, label, values, splits = OTHERS[request.param]
    root = tmp_path / request.param
    for split in splits:
        for number in range(2):
            noise(root / image.format(split, f"{split}{number}"), 256, number + 10 * len(split))
            noise(root / label.format(split, f"{split}{number}"), values, number)
    return audit, root, image, label, splits


def test_other_targets_are_in_order_and_counted(other):
    audit, root, *_, splits = other
    result = audit(root)
    assert (result.problems, totals(result)) == ([], dict.fromkeys(splits, 2))
    assert result.counts[f"{splits[1]}/car"] == 2


def test_planted_faults_of_other_targets_are_found(other):
    audit, root, image, label, (first, second) = other
    bad = {
        root / label.format(first, f"{first}0"): lambda path: _save(path, np.full(SIZE, 254, np.uint8)),
        root / label.format(first, f"{first}1"): lambda path: path.unlink(),
        root / image.format(second, f"{second}0"): lambda path: path.write_bytes(b""),
    }
    for path, plant in bad.items():
        plant(path)
    copy = root / image.format(second, f"{second}1")
    copy.write_bytes((root / image.format(first, f"{first}0")).read_bytes())
    found = {problem.file: problem.what for problem in audit(root).problems}
    without_label = str(root / image.format(first, f"{first}1"))
    values, _, empty = map(str, bad)
    assert found.keys() == {values, without_label, empty, str(copy)}
    assert "[254]" in found[values]
    assert "no label for this image" in found[without_label]
    assert "the same file as" in found[str(copy)]


def test_labels_without_a_class_and_splits_of_one_class_are_found(cityscapes):
    train = sorted((cityscapes / "gtFine" / "train").rglob("*_labelIds.png"))
    for path in train:
        _save(path, np.full(SIZE, 7, np.uint8))
    (problem,) = audit_cityscapes(cityscapes).problems
    assert "every label of split train shows only the class 'road'" in problem.what
    _save(train[0], np.zeros(SIZE, np.uint8))
    first, _ = audit_cityscapes(cityscapes).problems
    assert (first.file, first.what.partition(":")[0]) == (str(train[0]), "no pixel has an evaluated class")


def test_a_frame_in_two_cities_is_found(cityscapes):
    folder = cityscapes / "leftImg8bit" / "val" / "munster"
    name = "munster_000000_000019"
    for kind, suffix in (("leftImg8bit", "leftImg8bit"), ("gtFine", "gtFine_labelIds")):
        source = cityscapes / kind / "val" / "munster" / f"{name}_{suffix}.png"
        (goal := cityscapes / kind / "val" / "ulm" / source.name).parent.mkdir()
        goal.write_bytes(source.read_bytes())
    found = [problem.what for problem in audit_cityscapes(cityscapes).problems]
    assert [what.partition(f" {folder}")[0] for what in found] == ["the same file as", "has the file name of"]


def test_own_pairs_by_their_folders_suffixes_and_number_of_classes(tmp_path):
    for number in range(3):
        noise(tmp_path / "mine" / "image" / f"{number}.jpg", 256, number)
        noise(tmp_path / "mine" / "mask" / f"{number}_mask.png", 5, number)
    options = {"images": "image", "labels": "mask", "image_suffix": ".jpg", "label_suffix": "_mask.png"}
    result = audit_pairs(tmp_path / "mine", num_classes=5, **options)
    assert result.problems == []
    assert result.counts == {"all": 3, **{f"all/class {number}": 3 for number in range(5)}}
    found = audit_pairs(tmp_path / "mine", num_classes=4, **options).problems
    assert [problem.what for problem in found] == ["values or colours of no class: 1, such as [4]"] * 3
    arguments = [f"--{name.replace('_', '-')}={value}" for name, value in options.items()]
    done = gcisg("audit", "--dataset", "pairs", "--root", tmp_path / "mine", "--num-classes", 5, *arguments)
    assert (done.code, done.out.splitlines()[-1].partition(": ")[2]) == (0, "0 problems; found: images 3")


def test_tool_lists_problems_and_exits_with_1(gtav):
    (gtav / "images" / "00001.png").write_text("")
    done = gcisg("audit", "--dataset", "gtav", "--root", gtav, "--workers", 1)
    line, *tables, summary = done.out.splitlines()
    assert [words.split() for words in tables[2:4]] == [["road", "4"], ["sidewalk", "4"]]
    assert tables[-1].split() == ["not", "a", "readable", "image", "…", "1"]
    assert done.code == 1
    assert line.startswith(f"{gtav / 'images' / '00001.png'}: not a readable image")
    assert summary.endswith("1 problem; found: images 4")


def test_tool_exits_with_0_and_prints_json(cityscapes):
    done = gcisg("audit", "--dataset", "cityscapes", "--root", cityscapes, "--workers", 1, "--json")
    assert done.code == 0
    assert json.loads(done.out)["counts"]["train/road"] == 2
    assert json.loads(done.out)["problems"] == []


@pytest.mark.parametrize("arguments", [("--dataset", "gtav", "--root", "nowhere"), ("--dataset", "gta", "--root", ".")])
def test_tool_exits_with_2_on_wrong_usage(arguments):
    done = gcisg("audit", *arguments)
    assert done.code == 2
    assert "no such folder" in done.err or "Did you mean 'gtav'" in done.err


def test_the_audit_imports_no_framework():
    code = "import sys, gcisg_seg.audit; print({'torch', 'mmengine', 'mmseg'} & set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "set()"
