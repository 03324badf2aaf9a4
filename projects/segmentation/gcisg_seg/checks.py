"""What can be wrong with one image and its label; training and the auditor ask the same functions."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from PIL import Image

from gcisg_core.problems import DataError, Problem
from gcisg_seg.layouts import IGNORED, OUTSIDE, Pair, label_table

FETCH_AGAIN = "Fetch the file again, or remove the pair"
REMOVE = "Remove the pair, or train with on_bad_sample='skip'"


def unreadable(path: str, error: Exception) -> DataError:
    """The error for a file that cannot be decoded: absent, truncated, or no image."""
    return DataError(path, f"unreadable ({error})", FETCH_AGAIN)


def read_image(path: str) -> np.ndarray:
    """Decode to RGB, shape (H, W, 3), uint8. Raises `DataError` when that fails."""
    try:
        with Image.open(path) as image:
            return np.asarray(image.convert("RGB"))
    except Exception as error:  # Pillow's decoders raise OSError, SyntaxError, ValueError, struct.error, ...
        raise unreadable(path, error) from error


def read_label(path: str) -> np.ndarray:
    """Decode the values of a label image, palette indices included, shape (H, W), uint8.

    Raises:
        DataError: The file is unreadable or holds colours in place of one 8-bit value a pixel.
    """
    try:
        with Image.open(path) as image:
            mode, values = image.mode, np.asarray(image)
    except Exception as error:
        raise unreadable(path, error) from error
    if mode not in ("P", "L"):
        what = f"image mode {mode}: a label has one 8-bit value a pixel (mode P or L)"
        raise DataError(path, what, "Use the label file, not its colour rendering")
    return values


def check_not_flat(path: str, image: np.ndarray) -> None:
    """Raise `DataError` when an image (H, W, 3) has one colour only, as some frames of GTAV have."""
    # The first row decides for nearly every good image.
    if (image[0] == image[0, 0]).all() and (image == image[0, 0]).all():
        raise DataError(path, f"every pixel has the colour {image[0, 0].tolist()}", REMOVE)


def check_size(path: str, label: Sequence[int], image: Sequence[int]) -> None:
    """Raise `DataError` when the label's (height, width) is not the image's; `path` is the label's."""
    if tuple(label) != tuple(image):
        what = f"label is {label[1]} x {label[0]} pixels, its image {image[1]} x {image[0]}"
        raise DataError(path, what, REMOVE)


def to_train_ids(path: str, values: np.ndarray, table: str) -> np.ndarray:
    """Map label values to train IDs.

    Args:
        path: The label file, for the message.
        values: Shape (H, W), uint8.
        table: A name that `label_table` knows.

    Returns:
        Shape (H, W), uint8: 0-18, or 255 where the pixel is not evaluated.

    Raises:
        DataError: A value is not in the table.
    """
    train_ids = label_table(table)[values]
    outside = train_ids == OUTSIDE
    if outside.any():
        found = np.unique(values[outside]).tolist()
        what = f"label values {found} on {int(outside.sum())} pixels are outside the table {table}"
        raise DataError(path, what, "Check that these are the official label files, not converted or coloured ones")
    return train_ids


class Inspected(NamedTuple):
    """One pair as the audit finds it; None where a file could not be used."""

    problems: list[Problem]
    image: np.ndarray | None
    train_ids: np.ndarray | None


def inspect_pair(pair: Pair) -> Inspected:
    """Everything that is wrong with one pair, in the order in which training would meet it, and what was decoded."""
    problems: list[Problem] = []
    image = label = train_ids = None
    try:
        image = read_image(pair.image)
        check_not_flat(pair.image, image)
    except DataError as error:
        problems.append(error.problem)
    try:
        label = read_label(pair.label)
        if image is not None:
            check_size(pair.label, label.shape, image.shape[:2])
    except DataError as error:
        problems.append(error.problem)
    try:
        if label is not None:
            train_ids = to_train_ids(pair.label, label, pair.table)
    except DataError as error:
        problems.append(error.problem)
    if train_ids is not None and not problems and (train_ids == IGNORED).all():
        what = "no pixel has a class of the evaluation: all are to be ignored"
        problems.append(Problem(pair.label, what, "Is it the label of this data set? Remove the pair if so"))
    return Inspected(problems, image, train_ids)
