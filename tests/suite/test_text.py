"""Text files as editors of all systems write them."""

import pytest

from gcisg_core.problems import DataError
from gcisg_core.shell import command_line
from gcisg_suite.text import read_lines, read_text, read_yaml

TEXT = "straße 1\nperson 2\n"
WRITTEN = {
    "plain": TEXT.encode(),
    "mark": TEXT.encode("utf-8-sig"),
    "windows": TEXT.replace("\n", "\r\n").encode("utf-8-sig"),
    "old mac": TEXT.replace("\n", "\r").encode(),
    "utf-16": TEXT.encode("utf-16"),
    "utf-16, big": b"\xfe\xff" + TEXT.encode("utf-16-be"),
    "utf-32": TEXT.encode("utf-32"),
    "no last end": TEXT.rstrip("\n").encode(),
}


@pytest.mark.parametrize("kind", WRITTEN)
def test_every_encoding_that_says_its_name_gives_the_same_lines(tmp_path, kind):
    path = tmp_path / "list.txt"
    path.write_bytes(WRITTEN[kind])
    assert read_lines(path) == ["straße 1", "person 2"]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (TEXT.encode("latin-1"), "is not text in UTF-8 (byte 4)"),
        (b"road\n".decode().encode("utf-16-le"), "zero bytes, as UTF-16 without a byte order mark"),
        (b"\xff\xfer", "is not text in UTF-16"),
    ],
)
def test_other_encodings_are_one_line_with_the_file(tmp_path, content, message):
    path = tmp_path / "list.txt"
    path.write_bytes(content)
    with pytest.raises(DataError) as raised:
        read_text(path)
    assert (raised.value.problem.file, raised.value.problem.remedy) == (str(path), "Save it as UTF-8")
    assert message in raised.value.problem.what


def test_what_is_no_file_is_named(tmp_path):
    for path in (tmp_path / "none.txt", tmp_path):
        with pytest.raises(DataError) as raised:
            read_text(path)
        assert raised.value.problem.file == str(path)


def test_a_printed_command_is_read_by_a_shell_as_it_was_meant(tmp_path):
    import subprocess

    words = ["My Data/it's", 'a "b"', "$HOME", "plain", tmp_path]
    line = command_line("printf", r"%s\n", *words)
    shell = subprocess.run(["sh", "-c", line], capture_output=True, text=True, check=True)
    assert shell.stdout.splitlines() == [str(word) for word in words]


LAUGH = "a0: &a0 [1]\n" + "".join(f"a{n}: &a{n} [*a{n - 1}, *a{n - 1}]\n" for n in range(1, 41))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("a:\n  - 1\n\t- 2\n", ", line 3: is not valid YAML .*found character"),
        ("a: 1\nb: *c\n", ", line 2: is not valid YAML .*undefined alias"),
        ("a: !!python/object/apply:os.system ['echo']\n", ", line 1: is refused: the tag !!python/object/apply:os"),
        ("a: 2020-99-99\n", ": cannot be read as YAML .month must be"),
        ("a: " + "[" * 2000 + "]" * 2000, ": cannot be read as YAML .maximum recursion"),
        (LAUGH, ": cannot be read as YAML .its lists stand for more than 10,000,000 values"),
    ],
)
def test_yaml_that_does_not_parse_or_is_far_larger_than_it_seems_names_file_and_line(tmp_path, text, message):
    (tmp_path / "a b.yaml").write_text(text)
    with pytest.raises(DataError, match=f"a b.yaml{message}"):
        read_yaml(tmp_path / "a b.yaml")
