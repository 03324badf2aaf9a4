"""The one reader of text files that people write: lists of images, lists of classes, grids."""

from __future__ import annotations

import codecs
from pathlib import Path

from gcisg_core.problems import DataError

SAVE = "Save it as UTF-8"
# Longest first: the mark of UTF-16 is the start of that of UTF-32.
MARKS = {
    codecs.BOM_UTF32_LE: "utf-32",
    codecs.BOM_UTF32_BE: "utf-32",
    codecs.BOM_UTF8: "utf-8-sig",
    codecs.BOM_UTF16_LE: "utf-16",
    codecs.BOM_UTF16_BE: "utf-16",
}


def read_text(path: str | Path) -> str:
    r"""The text of a file in UTF-8, or in the encoding that its byte order mark names; lines end in "\n".

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
    """The lines of a file, without their ends, the empty ones too. Raises as :func:`read_text`."""
    return read_text(path).removesuffix("\n").split("\n")
