"""The one reader of text files written by people: lists of images, lists of classes, sweeps and other YAML."""

from __future__ import annotations

import codecs
import json
import re
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import yaml

from gcisg_core.extent import check_extent
from gcisg_core.problems import DataError, reading, reason
from gcisg_suite.progress import Progress, duration

SAVE = "Save it as UTF-8"
FIX = "Correct the line; indent with spaces"
JSON_SPEED = 30_000_000  # bytes of JSON that are read in a second
LARGE = 3 * JSON_SPEED
# Longest first: the mark of UTF-16 is the start of that of UTF-32.
MARKS = {
    codecs.BOM_UTF32_LE: "utf-32",
    codecs.BOM_UTF32_BE: "utf-32",
    codecs.BOM_UTF8: "utf-8-sig",
    codecs.BOM_UTF16_LE: "utf-16",
    codecs.BOM_UTF16_BE: "utf-16",
}


def read_text(path: str | Path) -> str:
    r"""The text of a file in UTF-8, or in the encoding of its byte order mark; lines end in "\n".

    Raises:
        DataError: the file cannot be read, or is in another encoding.
    """
    try:
        content = Path(path).read_bytes()
    except FileNotFoundError as error:
        raise DataError(path, "no such file", "Restore it, or name the right one") from error
    except OSError as error:
        raise DataError(path, f"cannot be read ({error.strerror})", "Name a text file that can be read") from error
    encoding = next((name for mark, name in MARKS.items() if content.startswith(mark)), "utf-8")
    try:
        text = content.decode(encoding)
    except UnicodeDecodeError as error:
        raise DataError(path, f"is not text in {encoding.upper()} (byte {error.start})", SAVE) from error
    if "\0" in text:  # UTF-16 without its mark decodes as UTF-8, with a zero beside each letter
        raise DataError(path, "is not text in UTF-8: it has zero bytes, as UTF-16 without a byte order mark", SAVE)
    return text.replace("\r\n", "\n").replace("\r", "\n")


def read_lines(path: str | Path) -> list[str]:
    """The lines of a file, empty ones included, without line ends. Raises as :func:`read_text`."""
    return read_text(path).removesuffix("\n").split("\n")


class _TextOfTags(yaml.SafeLoader):
    """Reads a value with a Python tag without building the object: its name, or its arguments."""

    def of_tag(self, name: str, node: yaml.Node) -> Any:
        if isinstance(node, yaml.ScalarNode):
            return self.construct_scalar(node) or name.partition(":")[2]
        if isinstance(node, yaml.SequenceNode):
            return self.construct_sequence(node, deep=True)
        return self.construct_mapping(node, deep=True)


_TextOfTags.add_multi_constructor("tag:yaml.org,2002:python/", _TextOfTags.of_tag)


def is_lazy(path: str | Path) -> bool:
    """Whether a YAML file is a LazyConfig that Detectron2 wrote, with nodes that build objects."""
    return re.search(r"\b_target_:", read_text(path)) is not None


def read_yaml(path: str | Path, objects: bool = False) -> Any:
    """The content of a YAML file of plain values; nothing in it is run.

    Args:
        path: The file.
        objects: Read tags of Python objects as the plain values behind them.

    Raises:
        DataError: it cannot be read, does not parse (with its line), has a tag that asks for an object of Python, or
            its aliases stand for more values than there can be.
    """
    text = read_text(path)
    try:
        with reading(path, "YAML", FIX):
            content = yaml.load(text, _TextOfTags if objects else yaml.SafeLoader)
            check_extent(content)
    except DataError as error:
        if isinstance(error.__cause__, yaml.MarkedYAMLError):
            raise not_plain(error.__cause__, path) from error
        raise
    return content


def read_json(path: Path, remedy: str) -> Any:
    """The content of a JSON file, which may also be UTF-16 or start with a byte order mark.

    Raises:
        DataError: it cannot be read; `remedy` ends the message.
    """
    with reading(path, "JSON", remedy):
        content = path.read_bytes()
        expected = f"about {duration(len(content) / JSON_SPEED)}"
        with Progress(f"reading {path}", 1, "file", expected=expected) if len(content) > LARGE else nullcontext():
            return json.loads(content)


def read_json_object(path: str | Path) -> dict[str, Any]:
    """The object in a JSON file that a command wrote; empty if there is no file.

    Raises:
        DataError: it is damaged, or does not hold a JSON object.
    """
    with reading(path, "a JSON object", "Remove it, or restore it"):
        return dict(json.loads(read_text(path))) if Path(path).is_file() else {}


def read_json_lines(path: str | Path) -> list[dict[str, Any]]:
    """The objects of a file with one per line. A last line without a line end was cut short and is skipped.

    Raises:
        DataError: any other line is not a JSON object; the message names it.
    """
    found = []
    for number, line in enumerate(read_text(path).split("\n")[:-1], start=1):
        with reading(f"{path}, line {number}", "JSON", "Remove the line"):
            entry = json.loads(line)
            if not isinstance(entry, dict):
                raise TypeError(f"a {type(entry).__name__}, expected an object")
        found.append(entry)
    return found


def not_plain(error: yaml.YAMLError, file: object) -> DataError:
    """What is wrong with a YAML file, and in which line; the mark knows which of several files it is."""
    if not isinstance(error, yaml.MarkedYAMLError):
        return DataError(file, f"is not valid YAML ({reason(error)})", FIX)
    mark = error.problem_mark or error.context_mark
    name = mark.name if mark and mark.name.endswith((".yaml", ".yml")) else file
    place = f"{name}, line {mark.line + 1}" if mark else str(file)
    tag = re.search(r"tag '(?:tag:yaml.org,2002:)?([^']+)'", error.problem or "")
    if tag:
        what = f"is refused: the tag !!{tag[1]} makes an object of Python"
        return DataError(place, what, "Write plain values: numbers, texts, lists; (1, 2) is a tuple as it is")
    return DataError(place, f"is not valid YAML ({error.problem})", FIX)
