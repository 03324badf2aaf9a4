"""The user's own label images: the rule that turns their values or colours into class numbers. Needs no framework."""

from __future__ import annotations

import functools
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from PIL import Image

from gcisg_core.problems import DataError
from gcisg_seg.layouts import IGNORED, OUTSIDE

Colour = tuple[int, int, int]
MODES = ("P", "L", "LA", "1", "RGB", "RGBA")
BY_INDEX = "Leave the colours out of the classes to have such files read by index"
MASK = (0, IGNORED)  # values of a two-class mask, as drawing programs write it


@dataclass(frozen=True)
class LabelRule:
    """The meaning of the labels of a data set.

    Colour images are read by the colours of the classes. If the classes have colours, images with a palette are read by
    the colours of the palette, because the order of its entries depends on the program that wrote it; a palette that is
    a ramp of greys is ignored. All other images hold the value of the class at each pixel.

    Attributes:
        classes: Number of classes.
        colours: (R, G, B) of each class.
        label_values: The value of each class in the files; by default 0, 1, ..., or 1, 2, ... with `reduce_zero_label`.
        reduce_zero_label: Whether the value 0 means no class and 1 the first class, as in mmseg. Colours are not
            affected.
        ignore_index: Another value that means no class, in addition to 255.

    Raises:
        ValueError: a setting has a wrong length or range.
    """

    classes: int
    colours: tuple[Colour, ...] | None = None
    label_values: tuple[int, ...] | None = None
    reduce_zero_label: bool = False
    ignore_index: int = IGNORED

    def __post_init__(self) -> None:
        for fits, field, value, expected in self._checks():
            if not fits:
                raise ValueError(f"{field} must be {expected}, got {value!r}")

    def _checks(self) -> Iterator[tuple[bool, str, object, str]]:
        count, colours, values = self.classes, self.colours, self.label_values
        yield 1 <= count < OUTSIDE, "metainfo.classes", count, f"1 to {OUTSIDE - 1} classes"
        if colours is not None:
            yield len(colours) == count, "metainfo.palette", colours, f"{count} colours, one for each class"
            yield len(set(colours)) == count, "metainfo.palette", colours, "another colour for each class"
        if values is not None:
            fits = len(set(values)) == len(values) == count and all(0 <= value < 256 for value in values)
            yield fits, "label_values", values, f"{count} different values of 0 to 255"
            yield not self.reduce_zero_label, "label_values", values, "left out where reduce_zero_label is set"
        yield 0 <= self.ignore_index < 256, "ignore_index", self.ignore_index, "a value of 0 to 255 that labels have"

    @property
    def values(self) -> tuple[int, ...]:
        """The value of each class in the files."""
        first = int(self.reduce_zero_label)
        return self.label_values or tuple(range(first, first + self.classes))

    @property
    def is_ambiguous_mask(self) -> bool:
        """Whether 255 may mean either the second class or no class."""
        return self.classes == 2 and self.label_values is None and not self.reduce_zero_label


class OwnLabel(NamedTuple):
    """A decoded label.

    Attributes:
        values: (H, W) values, or (H, W, 3) colours, uint8.
        palette: (N, 3), uint8, the colours of a palette image, N up to 256; None for other images.
    """

    values: np.ndarray
    palette: np.ndarray | None = None

    @property
    def shape(self) -> tuple[int, ...]:
        return self.values.shape

    def way(self, rule: LabelRule) -> str:
        """How the label is read: "colour", "palette" (by the colours of its palette) or "value"."""
        if self.values.ndim == 3:
            return "colour"
        return "palette" if self.palette is not None and rule.colours is not None else "value"


def decode_own_label(path: str, image: Image.Image) -> OwnLabel:
    """Decode the label in an opened image.

    Raises:
        DataError: its format or mode cannot be a label.
    """
    values = np.asarray(image)
    if image.format in ("JPEG", "MPO"):
        raise DataError(path, "is a JPEG, whose compression changes label values", "Export the labels as PNG")
    if image.mode not in MODES:
        expected = "a label has the class's number at each pixel (mode P or L), or its colour (RGB)"
        raise DataError(path, f"image mode {image.mode}: {expected}", "Convert the labels")
    if image.mode in ("RGB", "RGBA"):
        return OwnLabel(values[..., :3])
    if image.mode == "LA":
        return OwnLabel(values[..., 0])
    palette = np.array(image.getpalette() or (), np.uint8).reshape(-1, 3) if image.mode == "P" else None
    if palette is not None and len(palette) > 1 and (palette == np.arange(len(palette))[:, None]).all():
        palette = None  # a ramp of greys only repeats the index
    return OwnLabel(values.astype(np.uint8), palette)


def class_numbers(path: str, label: OwnLabel, rule: LabelRule) -> np.ndarray:
    """Class numbers, shape (H, W), uint8.

    Args:
        path: The label file, for error messages.
        label: The decoded label.
        rule: The rule of its data set.

    Returns:
        The class of each pixel, or 255 for no class: the value is 255 or `ignore_index`, or the colour is black and no
        class is black.

    Raises:
        DataError: a value or colour belongs to no class, the label has colours but the classes do not, or a mask with
            0 and 255 is ambiguous.
    """
    way = label.way(rule)
    if way == "colour":
        keys = label.values.astype(np.int32) @ np.array([1 << 16, 1 << 8, 1], np.int32)
        if rule.colours is None:
            what = "has a colour at each pixel, but the classes have no colours"
            raise DataError(path, what, "Give the colours of the classes as the palette")
        numbers: np.ndarray = _colour_table(rule.colours)[keys]
    else:
        keys = label.values
        table = _value_table(rule) if way == "value" else _palette_table(label.palette, rule)
        numbers = table[keys]
    outside = np.unique(keys[numbers == OUTSIDE])
    if outside.size:
        raise DataError(path, *_unknown(label, rule, outside[:5].tolist(), outside.size))
    if way == "value" and rule.is_ambiguous_mask and (keys == IGNORED).any() and not (keys == 1).any():
        what = "has only the values 0 and 255: is 255 the second class, or no class?"
        raise DataError(path, what, "Set label_values=(0, 255) or label_values=(0, 1) on the data set")
    return numbers


def _unknown(label: OwnLabel, rule: LabelRule, found: Sequence[int], count: int) -> tuple[str, str]:
    """What is wrong and the remedy, for values or colours that belong to no class."""
    way = label.way(rule)
    if way == "value":
        expected = ", ".join(map(str, rule.values)) if rule.label_values else f"{rule.values[0]} to {rule.values[-1]}"
        remedy = f"Expected {expected}, the number of the class, or 255 for none; label_values names other values"
        return f"values or colours of no class: {count}, such as {list(found)}", remedy
    if way == "palette":
        colours = dict(enumerate(label.palette.tolist() if label.palette is not None else ()))
        found = [int("{:02x}{:02x}{:02x}".format(*colours.get(index, (0, 0, 0))), 16) for index in found]
    named = [f"#{value:06x}" for value in found]
    if way == "palette":
        what = f"colours of its palette that belong to no class: {count}, such as {named}"
        return what, f"Add them to the palette of the classes. {BY_INDEX}"
    remedy = "Add the colours to the palette. A lossy format such as JPEG changes the colours of a label"
    return f"values or colours of no class: {count}, such as {named}", remedy


@functools.lru_cache(maxsize=4)
def _colour_table(colours: tuple[Colour, ...]) -> np.ndarray:
    """A lookup table, shape (256 * 256 * 256,), uint8: R, G, B as one number -> class; black defaults to no class."""
    table = np.full(1 << 24, OUTSIDE, np.uint8)
    table[0] = IGNORED
    for number, (red, green, blue) in enumerate(colours):
        table[red << 16 | green << 8 | blue] = number
    return table


@functools.lru_cache(maxsize=4)
def _value_table(rule: LabelRule) -> np.ndarray:
    """A lookup table of shape (256,), uint8: value -> class, 255 or `OUTSIDE`."""
    table = np.full(256, OUTSIDE, np.uint8)
    table[IGNORED] = IGNORED
    if rule.reduce_zero_label:
        table[0] = IGNORED
    table[list(rule.values)] = range(rule.classes)
    if rule.ignore_index != IGNORED:
        table[rule.ignore_index] = IGNORED
    return table


def _palette_table(palette: Any, rule: LabelRule) -> np.ndarray:
    """A lookup table, shape (256,), uint8: index -> class by its colour; 255 and `ignore_index` default to no class."""
    table = np.full(256, OUTSIDE, np.uint8)
    keys = palette.astype(np.int32) @ np.array([1 << 16, 1 << 8, 1], np.int32)
    table[: len(keys)] = _colour_table(rule.colours or ())[keys]
    for index in (IGNORED, rule.ignore_index):
        if table[index] == OUTSIDE:
            table[index] = IGNORED
    return table


# How a label is read -> its description in the audit.
WAYS = {
    "colour": "by the colours of their pixels",
    "palette": "by the colours of their palettes",
    "value": "by value",
}


def shown(label: OwnLabel, rule: LabelRule, numbers: np.ndarray) -> Counter[tuple[str, str, str, int]]:
    """Number of pixels of each (way, index or value, colour, class) in a label; fields that do not apply are ""."""
    way = label.way(rule)
    if way == "colour":
        colours = rule.colours or ()
        counts = np.bincount(numbers.ravel(), minlength=256)
        return Counter({(way, "", _hex(colours, n), n): int(counts[n]) for n in np.flatnonzero(counts).tolist()})
    counts = np.bincount((label.values.astype(np.int64) << 8 | numbers).ravel(), minlength=1 << 16)
    colours = () if label.palette is None else label.palette.tolist()
    return Counter(
        {(way, str(n >> 8), _hex(colours, n >> 8), n & 255): int(counts[n]) for n in np.flatnonzero(counts).tolist()}
    )


def _hex(colours: Sequence[Sequence[int]], index: int) -> str:
    return "#{:02x}{:02x}{:02x}".format(*colours[index]) if index < len(colours) else ""


def mask_values(labels: Iterable[OwnLabel], rule: LabelRule) -> tuple[int, ...] | None:
    """The values of two classes, found from the labels: (0, 255) if 255 occurs and no other value but 0, else None."""
    if not rule.is_ambiguous_mask:
        return None
    found = False
    for label in labels:
        if label.way(rule) != "value" or ((label.values != 0) & (label.values != IGNORED)).any():
            return None
        found = found or bool((label.values == IGNORED).any())
    return MASK if found else None
