"""docs/extend.md: each of its diffs applies to this repository, and what it adds runs."""

import json
import os
import re
import shutil
import subprocess
import sys

import pytest

from tests.documents import ROOT, blocks
from tests.extend_checks import CHECKS

PARTS = ("gcisg_core", "gcisg_suite", "projects", "zoo")
LEFT_OUT = shutil.ignore_patterns("__pycache__", "*.jsonl", "*.pth")
RUN_ALL = """
import json, sys, traceback
for name, code in json.load(sys.stdin).items():
    try:
        exec(code, {})
        print(json.dumps([name, ""]))
    except Exception:
        print(json.dumps([name, traceback.format_exc()]))
"""


@pytest.fixture(scope="module")
def extended(tmp_path_factory):
    """A copy of the repository with all of the document's diffs."""
    copy = tmp_path_factory.mktemp("extended")
    for name in PARTS:
        shutil.copytree(ROOT / name, copy / name, ignore=LEFT_OUT)
    shutil.copy(ROOT / "setup.py", copy)
    for number, block in enumerate(block for block in blocks("docs/extend.md") if block.language == "diff"):
        (copy / f"{number}.diff").write_text(block.text)
        process = subprocess.run(
            ["git", "apply", "--verbose", f"{number}.diff"],
            cwd=copy, capture_output=True, text=True, check=False,
            env={**os.environ, "GIT_CEILING_DIRECTORIES": str(copy.parent)},
        )  # fmt: skip
        assert process.returncode == 0, process.stderr
    return copy


@pytest.fixture(scope="module")
def outcomes(extended):
    """What went wrong with each check."""
    process = subprocess.run(
        [sys.executable, "-c", RUN_ALL],
        input=json.dumps(CHECKS), cwd=extended, capture_output=True, text=True, check=True,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(map(str, [extended, *extended.glob("projects/*")]))},
    )  # fmt: skip
    return dict(json.loads(line) for line in process.stdout.splitlines() if line.startswith('["'))


@pytest.mark.parametrize("what", CHECKS)
def test_what_a_diff_adds_works(outcomes, what):
    assert outcomes[what] == ""


@pytest.mark.parametrize(
    ("what", "message"),
    [("pooling", "generalised_mean"), ("method", "consistency"), ("metric", "effective_rank"), ("format", "'yolo'")],
)
def test_without_its_diff_the_check_fails(what, message, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises((KeyError, ValueError), match=message):
        exec(CHECKS[what], {})


def test_the_numbers_of_files_are_those_of_the_diffs():
    """`## A method: 1 file and 1 row`: what is new, and the file that has the row."""
    text = (ROOT / "docs/extend.md").read_text()
    stated = re.findall(r"^## ([\w ]+): 1 (file|folder)( and 1 row)?\n(.*?)(?=^## |\Z)", text, re.M | re.S)
    assert {name for name, *_ in stated} >= {"A pooling", "A method", "A metric", "A task"}
    for name, kind, row, section in stated:
        sides = re.findall(r"^--- (\S+)\n\+\+\+ b/(\S+)$", section, re.M)
        new = {path for before, path in sides if before == "/dev/null"}
        changed = {path for before, path in sides if before != "/dev/null"}
        if kind == "folder":
            new = {"/".join(path.split("/")[:2]) for path in new}
        assert len(new | changed) == 1 + bool(row), name
        assert not row or len(new) == 1, name
