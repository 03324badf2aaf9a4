"""The auditor finds what training would trip over, without a framework."""

from __future__ import annotations

import importlib
import json
import subprocess
import sys
from pathlib import Path

import pytest
from scipy.io import savemat

from gcisg_seg.audit import audit_cityscapes, audit_gtav

TOOL = Path(__file__).parents[2] / "tools" / "audit_data.py"


def run_tool(*arguments: object) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, str(TOOL), *map(str, arguments)], capture_output=True, text=True, check=False
    )


def test_sound_folders_have_no_problem(gtav, cityscapes):
    savemat(gtav / "split.mat", {"trainIds": [[1], [3]], "valIds": [[2]], "testIds": [[4]]})
    result = audit_gtav(gtav)
    assert (result.problems, result.counts) == ([], {"all": 4, "train": 2, "val": 1, "test": 1})
    result = audit_cityscapes(cityscapes)
    assert (result.problems, result.counts) == ([], {"train": 2, "val": 2})


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


def test_split_file_that_names_absent_pairs_is_a_problem(gtav):
    savemat(gtav / "split.mat", {"trainIds": [[1], [9]], "valIds": [[2]]})
    first, second = audit_gtav(gtav).problems
    assert "1 of the 2 pairs of split train" in first.what
    assert "testIds" in second.what


def test_cityscapes_of_one_split_is_in_order_and_none_is_not(cityscapes, tmp_path):
    for folder in ("leftImg8bit", "gtFine"):
        (cityscapes / folder / "train").rename(tmp_path / folder)
    assert audit_cityscapes(cityscapes).counts == {"val": 2}
    assert audit_cityscapes(cityscapes).problems == []
    assert [p.what for p in audit_cityscapes(tmp_path / "data").problems] == ["no such folder"] * 2


def test_tool_lists_problems_and_exits_with_1(gtav):
    (gtav / "images" / "00001.png").write_text("")
    done = run_tool("--dataset", "gtav", "--root", gtav, "--workers", 1)
    line, summary = done.stdout.splitlines()
    assert done.returncode == 1
    assert line.startswith(f"{gtav / 'images' / '00001.png'}: unreadable")
    assert summary.endswith("1 problems; found: all 4")


def test_tool_exits_with_0_and_prints_json(cityscapes):
    done = run_tool("--dataset", "cityscapes", "--root", cityscapes, "--workers", 1, "--json")
    assert done.returncode == 0
    assert json.loads(done.stdout)["counts"] == {"train": 2, "val": 2}
    assert json.loads(done.stdout)["problems"] == []


@pytest.mark.parametrize("arguments", [("--dataset", "gtav", "--root", "nowhere"), ("--dataset", "gta", "--root", ".")])
def test_tool_exits_with_2_on_wrong_usage(arguments):
    done = run_tool(*arguments)
    assert done.returncode == 2
    assert "no such folder" in done.stderr or "invalid choice" in done.stderr


def test_every_audit_in_the_table_exists_and_imports_no_framework():
    spec = importlib.util.spec_from_file_location("audit_data", TOOL)
    tool = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(tool)
    for target in tool.AUDITS.values():
        module, function = target.split(":")
        assert callable(getattr(importlib.import_module(module), function))
    code = "import sys, gcisg_seg.audit; print({'torch', 'mmengine', 'mmseg'} & set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "set()"
