"""What an audit prints: three examples of a kind, their number, tables, and all of it as JSON."""

import json
from pathlib import Path

import pytest

from gcisg_core.problems import AuditResult, Problem
from gcisg_suite.audit.show import by_kind, show

MANY = [Problem(f"my data/{n}.png", f"label is {n} x 4 pixels, its image 9 x {n}", "Mend it") for n in range(5)]
OTHER = [Problem("a.json", "boxes without area, left out: 7, such as x", "Mend them", "boxes without area", 7)]
RESULT = AuditResult([*MANY, *OTHER], {"images": 5, "boxes": 9, "boxes/car": 8, "boxes/van": 1}, [MANY[0]] * 4)


def test_three_of_a_kind_are_shown_with_the_number_of_the_others(capsys):
    assert show("pairs", [(Path("my data"), RESULT)], False) == 1
    *lines, last = capsys.readouterr().out.splitlines()
    assert lines[:3] == [str(problem) for problem in MANY[:3]]
    assert lines[3] == "... and 2 more of this kind (label is … x … pixels, its image … x …); --json lists all"
    assert lines[4] == str(OTHER[0])
    assert lines[8] == "note: ... and 1 more of this kind (label is … x … pixels, its image … x …); --json lists all"
    assert [line.split() for line in lines[9:13:1]] == [
        ["class", "boxes"],
        ["-------", "-------"],
        ["car", "8"],
        ["van", "1"],
    ]
    assert [line.rsplit(maxsplit=1)[1] for line in lines[-2:]] == ["5", "7"]
    assert last == "pairs in my data: 12 problems; found: images 5, boxes 9"


def test_json_has_every_problem_and_the_number_of_each_kind(capsys):
    show("pairs", [(Path("my data"), RESULT)], True)
    found = json.loads(capsys.readouterr().out)
    assert [item["file"] for item in found["problems"]] == [problem.file for problem in RESULT.problems]
    assert [*found["summary"].values()] == [5, 7]
    assert found["counts"] == RESULT.counts


@pytest.mark.parametrize(
    "texts",
    [
        ("not a readable image (truncated)", "not a readable image (broken PNG file)"),
        ("0 images: nothing here is named *.png", "3 images: nothing here is named *_a.jpg"),
        ("values or colours of no class: 2, such as [7, 8]", "values or colours of no class: 1, such as ['#090909']"),
        ("cannot be read as JSON (wrong (char 1))", "cannot be read as JSON (cut off: (char 29))"),
        ("class 'car' (value 1) has no pixel", "class 'my own' (value 2) has no pixel"),
    ],
)
def test_names_and_numbers_do_not_make_a_kind(texts):
    (kind,) = by_kind(Problem("a", text, "b") for text in texts)
    assert ")" not in kind
