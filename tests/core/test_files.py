import os

import pytest

from gcisg_core.files import replace_folder, replacing, write_json, write_text


def test_folders_are_made_and_nothing_else_is_left(tmp_path):
    path = write_text(tmp_path / "a" / "b.json", "ä")
    assert path.read_bytes() == "ä".encode()
    assert list(path.parent.iterdir()) == [path]


def test_an_error_leaves_the_old_file_alone(tmp_path):
    path = write_text(tmp_path / "b.png", "old")

    def fill(file):
        with replacing(file) as partial:
            partial.write_text("ne")
            assert partial.suffix == ".png"  # libraries choose the format by it
            assert path.read_text() == "old"
            raise OSError("disk full")

    with pytest.raises(OSError, match="full"):
        fill(path)
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]


def test_json_has_null_where_a_number_does_not_exist(tmp_path):
    content = {"AP": float("nan"), "each": [1.5, (float("inf"), 2)], "name": "car", "none": None}
    text = write_json(tmp_path / "sub/results.json", content).read_text()
    assert text == '{"AP": null, "each": [1.5, [null, 2]], "name": "car", "none": null}'


def test_a_kill_while_a_folder_is_replaced_leaves_a_whole_one(tmp_path, monkeypatch):
    goal = tmp_path / "goal"

    def make(text):
        (tmp_path / "new").mkdir()
        for name in "ab":
            (tmp_path / "new" / name).write_text(text)
        return tmp_path / "new"

    def content():
        return {path.name: path.read_text() for path in goal.iterdir()}

    replace_folder(make("1"), goal)
    unlink = os.unlink

    def killed(name, **where):
        unlink(name, **where)
        raise KeyboardInterrupt

    second = make("2")
    with monkeypatch.context() as patch:
        patch.setattr(os, "unlink", killed)
        with pytest.raises(KeyboardInterrupt):
            replace_folder(second, goal)
    assert content() == {"a": "2", "b": "2"}
    replace_folder(make("3"), goal)
    assert content() == {"a": "3", "b": "3"}
    assert [*tmp_path.iterdir()] == [goal]
