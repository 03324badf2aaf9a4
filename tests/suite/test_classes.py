"""The file of the classes, as people and other programs write it."""

import pytest

from gcisg_suite.classes import named_classes

NAMES, COLOURS = ["road", "traffic light", "person"], [(128, 64, 128), (0, 0, 142), (220, 20, 60)]
FILES = {
    "names": "road\n\ntraffic light\nperson\n",
    "a comment": "# by value\nroad\ntraffic light\nperson",
    "colours": "road 128 64 128\ntraffic light 0 0 142\nperson 220 20 60",
    "numbers": "2 person\n0 road\n1: traffic light\n",
    "numbers and colours": "1,traffic light,0,0,142\n0,road,128,64,128\n2,person,220,20,60",
    "commas": "road,128,64,128\ntraffic light, 0, 0, 142\nperson,220,20,60\n",
    "tabs": "road\t128\t64\t128\ntraffic light\t0\t0\t142\nperson\t220\t20\t60",
    "hexadecimal": "# by value\nroad #804080\ntraffic light #00008e\nperson,#DC143C",
}


@pytest.mark.parametrize("form", FILES)
def test_names_and_colours_are_read(tmp_path, form):
    (tmp_path / "classes.txt").write_text(FILES[form])
    found = named_classes([str(tmp_path / "classes.txt")])
    assert found == (NAMES, None if form in ("names", "a comment", "numbers") else COLOURS)


@pytest.mark.parametrize(
    "text", ["road 128 64", "road,128,64", "road 128 64 256", "a 1 2 3\nb", "a\nb 1 2 3", "a\na", "# a", "a 1 2 3000"]
)
def test_other_lines_are_refused_with_the_file(tmp_path, text):
    (tmp_path / "classes.txt").write_text(text)
    with pytest.raises(
        ValueError, match=r"classes.txt( line \d: .*, expected the form 'name'|: expected one line for each class)"
    ):
        named_classes([str(tmp_path / "classes.txt")])


def test_numbers_that_are_not_label_values_are_refused(tmp_path):
    (tmp_path / "classes.txt").write_text("1 road\n2 person")
    with pytest.raises(
        ValueError, match="classes.txt: each line begins with a number; expected the label values 0 to 1"
    ):
        named_classes([str(tmp_path / "classes.txt")])
