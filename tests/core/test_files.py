import pytest

from gcisg_core.files import replacing, write_json, write_text


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
