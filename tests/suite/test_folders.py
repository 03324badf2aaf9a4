"""Folders with what systems and notebooks leave there."""

from gcisg_suite.folders import left_out, list_files


def test_hidden_files_and_clutter_are_no_data_and_links_are_followed(tmp_path):
    root = tmp_path / ".hidden above" / "data"
    names = (
        "a.png",
        "sub/b.png",
        "._a.png",
        ".ipynb_checkpoints/a-checkpoint.png",
        "__MACOSX/sub/._b.png",
        ".DS_Store",
    )
    for name in names:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).touch()
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "elsewhere" / "c.png").touch()
    (root / "linked").symlink_to(tmp_path / "elsewhere")
    (root / "sub/back").symlink_to(root)  # links in a circle
    (root / "sub/up").symlink_to(tmp_path)
    (tmp_path / "elsewhere" / "there").symlink_to(root / "linked")
    files, hidden = list_files(root)
    assert files == ["a.png", "linked/c.png", "sub/b.png"]
    assert hidden == sorted(names[2:])


def test_left_out_is_one_line_with_a_count_and_an_example_of_each_kind(tmp_path):
    (line,) = left_out(tmp_path, {"hidden": ["._a", "._b"], "converted": [], "no image": ["notes.txt"]})
    assert line.what == "left out 3 files: 2 hidden (such as ._a), 1 no image (such as notes.txt)"
    assert left_out(tmp_path, {"hidden": []}) == []
