"""Text files as editors of all systems write them."""

import pytest

from gcisg_core.problems import DataError
from gcisg_core.shell import command_line
from gcisg_suite.text import read_json_lines, read_json_object, read_lines, read_text, read_yaml

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


# What the message says to do, the reader, a content that provokes it, and the content after it was done.
CONTENTS = [
    ("Restore it, or name the right one", read_text, None, b"a"),
    ("Save it as UTF-8", read_text, TEXT.encode("latin-1"), TEXT.encode()),
    ("Save it as UTF-8", read_text, "road".encode("utf-16-le"), b"road"),
    ("Correct the line; indent with spaces", read_yaml, b"a:\n\t- 2\n", b"a:\n  - 2\n"),
    ("Write plain values: numbers, texts, lists; (1, 2) is a tuple as it is", read_yaml,
        b"a: !!python/tuple [1, 2]", b"a: (1, 2)"),
    ("Remove it, or restore it", read_json_object, b"{", b"{}"),
    ("Remove it, or restore it", read_json_object, b"{", None),
    ("Remove the line", read_json_lines, b'{"a": 1}\n{\n', b'{"a": 1}\n'),
    ("Remove the line", read_json_lines, b"{}\n[1]\n", b"{}\n"),
]  # fmt: skip


@pytest.mark.remedy(*CONTENTS)
@pytest.mark.parametrize(("words", "read", "spoilt", "good"), CONTENTS)
def test_what_the_message_says_is_done(tmp_path, words, read, spoilt, good):
    def write(content):
        (tmp_path / "a.txt").unlink(missing_ok=True)
        if content is not None:
            (tmp_path / "a.txt").write_bytes(content)

    write(spoilt)
    with pytest.raises(DataError) as raised:
        read(tmp_path / "a.txt")
    assert raised.value.problem.remedy == words
    write(good)
    read(tmp_path / "a.txt")


@pytest.mark.remedy("Name a text file that can be read")
def test_a_folder_in_place_of_a_file(tmp_path):
    with pytest.raises(DataError, match="cannot be read .* Name a text file that can be read"):
        read_text(tmp_path)
    (tmp_path / "a.txt").write_text("a")
    assert read_text(tmp_path / "a.txt") == "a"
