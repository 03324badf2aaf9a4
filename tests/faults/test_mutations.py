"""Mutated files of every format: a clear error that names the file, a finding of the audit, or data; nothing else.

CI tries a few mutations of each with a fixed seed; `make fuzz` tries many with another seed each time.
"""

from __future__ import annotations

import json
import os
import shutil
import signal

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from gcisg_core.problems import AuditResult, DataError
from gcisg_suite.audit.show import as_dict
from tests.faults.formats import FORMATS, STATE, odd_files

EXAMPLES = int(os.environ.get("GCISG_FUZZ", "0"))
MOST_CHARACTERS = 2100  # of what is wrong with a file
SECONDS = 60  # no file of a few hundred bytes may take longer
ODD = [
    None, True, -1, 0, 1e9, 10**9, 2**70, 1e308, float("nan"), float("inf"), "", "\0", "a" * 5000, "1e999", "../x", [],
    {}, [[]], [None], ["a"], [1e9] * 6, {"a": [1]}, "é", [[1e9, 1e9]] * 3, 0.5, "26", "car",
]  # fmt: skip
WHOLE = [
    b"", b"\0" * 300, b"\xff\xfe" + "a".encode("utf-16-le"), "ä".encode("latin1"), b"[" * 5000, b"{}", b"3", b"null",
    b'[""]',
    b'<?xml version="1.0" encoding="nowhere"?><a/>', b'<?xml version="1.0"?><a/>', b"<html></html>", b"PK\x03\x04",
    b"\x80\x02]q\0(h\0h\0e.", b"version https://git-lfs.github.com/spec/v1\n", b"a: &a [*a]", b"- 1", b"x = 1/0\n",
    b"\x89PNG\r\n\x1a\n", b"\xff\xd8\xff\xe0", b'{"step": 1}\n3\n{"step": "a"}\n{"loss": 1}\n',
    b'{"iteration": null}\n', *odd_files(),
]  # fmt: skip

NEW = [b"", b"\0", b"\xff", b"\xff\xff\xff\x7f", b"99999999999", b"-1", b"\xc3", b"nan", b"\n"]


@st.composite
def mutated_bytes(draw, content: bytes):
    """A few cuts, flips, insertions, repetitions and other numbers; or another file altogether."""
    if draw(st.integers(0, 9)) == 0:
        return draw(st.sampled_from(WHOLE))
    for _ in range(draw(st.integers(1, 4))):
        first = draw(st.integers(0, max(len(content) - 1, 0)))
        last = min(len(content), first + draw(st.sampled_from([0, 1, 2, 4, 16, 10**6])))
        new = draw(st.sampled_from(NEW))
        content = content[:first] + draw(st.sampled_from([b"", new, content[first:last] * 2, new])) + content[last:]
    return content


def places(value, path=()):
    """The path of each value in a nested one."""
    yield path
    if isinstance(value, dict | list):
        for key, inner in value.items() if isinstance(value, dict) else enumerate(value):
            yield from places(inner, (*path, key))


@st.composite
def mutated_json(draw, content: bytes):
    """One or two values replaced by odd ones, removed, nested or repeated."""
    value = json.loads(content)
    for _ in range(draw(st.integers(1, 2))):
        path = draw(st.sampled_from([*places(value)]))
        if not path:
            return json.dumps(draw(st.sampled_from([value, [value], *ODD]))).encode()
        parent = value
        for key in path[:-1]:
            parent = parent[key]
        how = draw(st.integers(0, 5))
        if how == 0:
            del parent[path[-1]]
        elif how == 1 and isinstance(parent, list):
            parent[:] = parent * draw(st.sampled_from([0, 2, 3000]))
        elif how == 2:
            for _ in range(draw(st.sampled_from([1, 300, 900]))):
                parent[path[-1]] = [parent[path[-1]]]
        else:
            parent[path[-1]] = draw(st.sampled_from(ODD))
    return json.dumps(value).encode()


def read(load, folder):
    """What the folder gives, or the error that names a file of it."""
    try:
        return load(folder)
    except ValueError as error:
        found = error
    # The file, its class or its partner.
    assert folder.name in (found.problem.file if isinstance(found, DataError) else str(found)), found
    assert "\n" not in str(found)
    if isinstance(found, DataError):
        assert len(found.problem.what) < MOST_CHARACTERS
    return found


def check(name, folder):
    """Reads and audits a folder with a mutated file."""
    form = FORMATS[name]
    found = read(form.read, folder)
    if name == "checkpoint" and not isinstance(found, ValueError):  # its check sums leave nothing unseen
        assert torch.equal(found["state_dict"]["w"], STATE["state_dict"]["w"])
    if form.audit is not None:
        result = form.audit(folder)
        assert isinstance(result, AuditResult)
        json.dumps(as_dict(result))  # what `--json` prints
        assert all(len(problem.what) < MOST_CHARACTERS for problem in result.problems)
        if isinstance(found, ValueError):
            assert result.problems, found
    assert not [*folder.parent.glob("ran*")]


@pytest.fixture
def in_time():
    """A hang is an error too."""
    before = signal.signal(signal.SIGALRM, lambda *_: pytest.fail(f"more than {SECONDS} s"))
    yield lambda: signal.alarm(SECONDS)
    signal.alarm(0)
    signal.signal(signal.SIGALRM, before)


@pytest.mark.parametrize("name", FORMATS)
def test_a_mutated_file_is_an_error_a_finding_or_data(name, tmp_path, in_time, monkeypatch):
    monkeypatch.chdir(tmp_path)
    form, whole, folder = FORMATS[name], tmp_path / "whole", tmp_path / "mutated"
    whole.mkdir()
    form.make(whole)
    content = (whole / form.file).read_bytes()
    is_json = form.file.endswith(".json") and "\n" not in content.decode()
    strategy = st.one_of(mutated_bytes(content), mutated_json(content)) if is_json else mutated_bytes(content)
    assert not isinstance(read(form.read, whole), ValueError)

    count = max((EXAMPLES or 10) // form.cost, 2)

    @settings(max_examples=count, derandomize=not EXAMPLES, deadline=None, database=None,
              suppress_health_check=[*HealthCheck])  # fmt: skip
    @given(strategy)
    def try_it(mutated):
        shutil.rmtree(folder, ignore_errors=True)
        shutil.copytree(whole, folder)
        (folder / form.file).write_bytes(mutated)
        in_time()
        check(name, folder)
        signal.alarm(0)  # the search for the next mutation is not the reader's time

    try_it()


LONG = "a" * 100_000
WHOLE_VALUES = [
    ("coco", '"1.png"', f'"{LONG}"'),
    ("voc", "<name>car", f"<name>{LONG}"),
    ("voc", "<xmin>2", f"<xmin>{LONG}"),
    ("scalars", '"accuracy": 50.0', '"accuracy": [50.0], "\\ud800": 1.0'),
    ("scalars", '"time": 0.1', '"time": "a"'),
    ("metrics", "5.0", '"a"'),
    ("metrics", '"time"', '"\\ud800/bbox/AP50": 1.0, "time"'),
    ("identity", '"lr": 0.1', f'"lr": "{LONG}"'),
]


@pytest.mark.parametrize(("name", "old", "new"), WHOLE_VALUES)
def test_odd_values_in_a_whole_file(name, old, new, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    folder = tmp_path / "mutated"
    folder.mkdir()
    FORMATS[name].make(folder)
    file = folder / FORMATS[name].file
    text = file.read_text()
    assert old in text
    file.write_text(text.replace(old, new))
    check(name, folder)
    assert len(capsys.readouterr().err) < 2 * MOST_CHARACTERS
