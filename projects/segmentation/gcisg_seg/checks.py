"""Checks of an image and its label, used by both training and the audit."""

from __future__ import annotations

import functools
from collections import Counter
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np
from PIL import Image

from gcisg_core.problems import DataError, Problem, reading
from gcisg_seg.layouts import IGNORED, IN_RED, LABEL_TABLES, OUTSIDE, Pair
from gcisg_seg.own_labels import Colour, LabelRule, OwnLabel, class_numbers, decode_own_label, shown
from gcisg_suite.images import other_size, read_image

FETCH_AGAIN = "Download the file again, or remove the pair"
LABEL = "a label image"
REMOVE = "Remove the pair; in training, on_bad_sample='skip' skips it"


def read_label(path: str, table: str = "") -> np.ndarray:
    """Decode the values of a label image, palette indices included, shape (H, W), uint8.

    Args:
        path: The file.
        table: The table of its values, a key of `LABEL_TABLES`; for some tables, the red channel holds the values.

    Raises:
        DataError: the file is unreadable, or holds colours instead of one 8-bit value per pixel.
    """
    if table in IN_RED:
        return _red_channel(path)
    with reading(path, LABEL, FETCH_AGAIN), Image.open(path) as image:
        mode, values = image.mode, np.asarray(image)
    if mode not in ("P", "L"):
        what = f"image mode {mode}: a label has one 8-bit value per pixel (mode P or L)"
        raise DataError(path, what, "Use the label file, not its colour rendering")
    return values


def _red_channel(path: str) -> np.ndarray:
    """The red channel, shape (H, W), uint8. Read with OpenCV, as Pillow truncates 16-bit channels."""
    import cv2

    with reading(path, LABEL, FETCH_AGAIN):
        values = cv2.imdecode(np.fromfile(path, np.uint8), cv2.IMREAD_UNCHANGED)
    if values is None:
        raise DataError(path, "unreadable (OpenCV does not recognise its format)", FETCH_AGAIN)
    if values.ndim != 3 or values[..., 2].max(initial=0) > 255:
        found = f"{values.shape[2]} channels of {values.dtype}" if values.ndim == 3 else f"1 channel of {values.dtype}"
        what = f"{found}: such a label has 3 or 4 channels, with the class in the red channel"
        raise DataError(path, what, "Use the original label file, not a converted one")
    return np.ascontiguousarray(values[..., 2].astype(np.uint8))


def check_not_flat(path: str, image: np.ndarray) -> None:
    """Raise `DataError` if all pixels of an image (H, W, 3) have the same colour, as in some frames of GTAV."""
    # The first row is enough for nearly every good image.
    if (image[0] == image[0, 0]).all() and (image == image[0, 0]).all():
        raise DataError(path, f"every pixel has the colour {image[0, 0].tolist()}", REMOVE)


def check_size(path: str, label: Sequence[int], image: str, size: Sequence[int]) -> None:
    """Raise `DataError` if a label does not have the displayed size of its image.

    Args:
        path: The label file.
        label: Its height and width.
        image: The image file.
        size: Its height and width, as `gcisg_suite.images.read_image` returns it.
    """
    if tuple(label) != tuple(size):
        found, remedy = other_size(image, size[::-1], label[::-1], REMOVE)
        raise DataError(path, f"label is {label[1]} x {label[0]} pixels, its image {found}", remedy)


def to_train_ids(path: str, values: np.ndarray, table: str) -> np.ndarray:
    """Map label values to train IDs.

    Args:
        path: The label file, for error messages.
        values: Shape (H, W), uint8.
        table: A key of `LABEL_TABLES`.

    Returns:
        Shape (H, W), uint8: 0 to 18, or 255 for pixels that are not evaluated.

    Raises:
        DataError: a value is not in the table.
    """
    train_ids = LABEL_TABLES[table][values]
    outside = train_ids == OUTSIDE
    if outside.any():
        found = np.unique(values[outside]).tolist()
        what = f"label values {found} on {int(outside.sum())} pixels are outside the table {table}"
        raise DataError(path, what, "Check that these are the official label files, not converted or coloured ones")
    return train_ids


def read_own_label(path: str) -> OwnLabel:
    """Decode one of the user's own labels.

    Raises:
        DataError: the file is unreadable or has an unsupported form.
    """
    with reading(path, LABEL, FETCH_AGAIN), Image.open(path) as image:
        image.load()
        return decode_own_label(path, image)


class LabelReader(NamedTuple):
    """Functions that turn a label into class numbers: `decode(path, table)`, then `number(pair, decoded)`.

    `show(decoded, numbers)` counts values and colours for the audit's table, see `gcisg_seg.own_labels.shown`.
    """

    decode: Callable[[str, str], Any]
    number: Callable[[Pair, Any], np.ndarray]
    show: Callable[[Any, np.ndarray], Counter[tuple[str, str, str, int]]] | None = None


def _official_number(pair: Pair, values: np.ndarray) -> np.ndarray:
    return to_train_ids(pair.label, values, pair.table)


def _own_decode(path: str, table: str = "") -> OwnLabel:
    return read_own_label(path)


def _own_number(rule: LabelRule, pair: Pair, label: OwnLabel) -> np.ndarray:
    return class_numbers(pair.label, label, rule)


def _own_shown(rule: LabelRule, label: OwnLabel, numbers: np.ndarray) -> Counter[tuple[str, str, str, int]]:
    return shown(label, rule, numbers)


OFFICIAL = LabelReader(read_label, _official_number)


def own_reader(classes: int, colours: Sequence[Colour] | None = None, **settings: Any) -> LabelReader:
    """The reader of the user's own labels, with the settings of `LabelRule`. It can be pickled."""
    rule = LabelRule(classes, None if colours is None else tuple(colours), **settings)
    return LabelReader(_own_decode, functools.partial(_own_number, rule), functools.partial(_own_shown, rule))


class Inspected(NamedTuple):
    """The result of checking a pair; None for a file that could not be used."""

    problems: list[Problem]
    image: np.ndarray | None
    train_ids: np.ndarray | None
    shown: Counter[tuple[str, str, str, int]] | None = None


def inspect_pair(pair: Pair, reader: LabelReader = OFFICIAL) -> Inspected:
    """All problems of a pair, in the order in which training would raise them, and its decoded files."""
    problems: list[Problem] = []
    image = label = train_ids = None
    try:
        image = read_image(pair.image)
        check_not_flat(pair.image, image)
    except DataError as error:
        problems.append(error.problem)
    try:
        label = reader.decode(pair.label, pair.table)
        if image is not None:
            check_size(pair.label, label.shape[:2], pair.image, image.shape[:2])
    except DataError as error:
        problems.append(error.problem)
    try:
        if label is not None:
            train_ids = reader.number(pair, label)
    except DataError as error:
        problems.append(error.problem)
    if train_ids is not None and not problems and (train_ids == IGNORED).all():
        what = "no pixel has an evaluated class: all are ignored"
        problems.append(
            Problem(pair.label, what, "Check that the label belongs to this data set; if so, remove the pair")
        )
    if train_ids is None or reader.show is None:
        return Inspected(problems, image, train_ids)
    return Inspected(problems, image, train_ids, reader.show(label, train_ids))
