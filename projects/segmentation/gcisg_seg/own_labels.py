"""Label images of your own: by which rule their values or colours become numbers of classes. No framework needed."""

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
MASK = (0, IGNORED)  # the values of a mask of two classes, as drawing programs write it


@dataclass(frozen=True)
class LabelRule:
    """What the labels of a data set mean.

    An image of colours is read by the colours of the classes. So is an indexed one (palette) where the classes have
    colours, unless its palette is a ramp of greys: the order of a palette is that of the program that wrote it. Every
    other image has the value of the class at each pixel.

    Attributes:
        classes: How many there are.
        colours: (R, G, B) of each.
        label_values: The value of each in the files; 0, 1, ... unless given, from 1 on with `reduce_zero_label`.
        reduce_zero_label: Whether the value 0 is no class and 1 is the first, as in mmseg. Colours are not affected.
        ignore_index: A further value of pixels without a class, beside 255.

    Raises:
        ValueError: a setting has another length or range.
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
        """Whether 255 may stand for the second class as well as for none."""
        return self.classes == 2 and self.label_values is None and not self.reduce_zero_label


class OwnLabel(NamedTuple):
    """A decoded label.

    Attributes:
        values: (H, W) values, or (H, W, 3) colours, uint8.
        palette: (N, 3), uint8, the colours of an indexed image, N up to 256.
    """

    values: np.ndarray
    palette: np.ndarray | None = None

    @property
    def shape(self) -> tuple[int, ...]:
        return self.values.shape

    def way(self, rule: LabelRule) -> str:
        """How the label is read: "colour", "palette" (the colours of an indexed image) or "value"."""
        if self.values.ndim == 3:
            return "colour"
        return "palette" if self.palette is not None and rule.colours is not None else "value"


def decode_own_label(path: str, image: Image.Image) -> OwnLabel:
    """The label in an opened image.

    Raises:
        DataError: it has another form.
    """
    values = np.asarray(image)
    if image.format in ("JPEG", "MPO"):
        raise DataError(path, "a JPEG, whose compression changes the values of a label", "Export the labels as PNG")
    if image.mode not in MODES:
        expected = "a label has the class's number at each pixel (mode P or L), or its colour (RGB)"
        raise DataError(path, f"image mode {image.mode}: {expected}", "Convert the labels")
    if image.mode in ("RGB", "RGBA"):
        return OwnLabel(values[..., :3])
    if image.mode == "LA":
        return OwnLabel(values[..., 0])
    palette = np.array(image.getpalette() or (), np.uint8).reshape(-1, 3) if image.mode == "P" else None
    if palette is not None and len(palette) > 1 and (palette == np.arange(len(palette))[:, None]).all():
        palette = None  # a ramp of greys says nothing but the index
    return OwnLabel(values.astype(np.uint8), palette)


def class_numbers(path: str, label: OwnLabel, rule: LabelRule) -> np.ndarray:
    """Numbers of classes, shape (H, W), uint8.

    Args:
        path: The label file, for the message.
        label: What was decoded.
        rule: Of its data set.

    Returns:
        255 where a pixel has no class: by the value 255 or `ignore_index`, or black where no class is black.

    Raises:
        DataError: a value or colour belongs to no class, there are colours and the classes have none, or a mask of
            0 and 255 can be read in two ways.
    """
    way = label.way(rule)
    if way == "colour":
        keys = label.values.astype(np.int32) @ np.array([1 << 16, 1 << 8, 1], np.int32)
        if rule.colours is None:
            what = "a colour at each pixel, and the classes have none"
            raise DataError(path, what, "Give the palette of the colours")
        numbers: np.ndarray = _colour_table(rule.colours)[keys]
    else:
        keys = label.values
        table = _value_table(rule) if way == "value" else _palette_table(label.palette, rule)
        numbers = table[keys]
    outside = np.unique(keys[numbers == OUTSIDE])
    if outside.size:
        raise DataError(path, *_unknown(label, rule, outside[:5].tolist(), outside.size))
    if way == "value" and rule.is_ambiguous_mask and (keys == IGNORED).any() and not (keys == 1).any():
        what = "values 0 and 255 alone: is 255 the second class, or no class?"
        raise DataError(path, what, "Set label_values=(0, 255) or label_values=(0, 1) on the data set")
    return numbers


def _unknown(label: OwnLabel, rule: LabelRule, found: Sequence[int], count: int) -> tuple[str, str]:
    """What to say of values or colours of no class."""
    way = label.way(rule)
    if way == "value":
        expected = ", ".join(map(str, rule.values)) if rule.label_values else f"{rule.values[0]} to {rule.values[-1]}"
        remedy = f"Expected {expected}, the number of the class, or 255 for none; label_values names other values"
        return f"{count} values or colours of no class, such as {list(found)}", remedy
    if way == "palette":
        colours = dict(enumerate(label.palette.tolist() if label.palette is not None else ()))
        found = [int("{:02x}{:02x}{:02x}".format(*colours.get(index, (0, 0, 0))), 16) for index in found]
    named = [f"#{value:06x}" for value in found]
    if way == "palette":
        what = f"{count} colours of its palette are of no class, such as {named}"
        return what, f"Add them to the palette of the classes. {BY_INDEX}"
    remedy = "Add its colour to the palette; a lossy format such as JPEG has blurred the colours of a label"
    return f"{count} values or colours of no class, such as {named}", remedy


@functools.lru_cache(maxsize=4)
def _colour_table(colours: tuple[Colour, ...]) -> np.ndarray:
    """A lookup of shape (256 * 256 * 256,), uint8: R, G, B as one number -> class; black is no class by default."""
    table = np.full(1 << 24, OUTSIDE, np.uint8)
    table[0] = IGNORED
    for number, (red, green, blue) in enumerate(colours):
        table[red << 16 | green << 8 | blue] = number
    return table


@functools.lru_cache(maxsize=4)
def _value_table(rule: LabelRule) -> np.ndarray:
    """A lookup of shape (256,), uint8: value -> class, 255 or `OUTSIDE`."""
    table = np.full(256, OUTSIDE, np.uint8)
    table[IGNORED] = IGNORED
    if rule.reduce_zero_label:
        table[0] = IGNORED
    table[list(rule.values)] = range(rule.classes)
    if rule.ignore_index != IGNORED:
        table[rule.ignore_index] = IGNORED
    return table


def _palette_table(palette: Any, rule: LabelRule) -> np.ndarray:
    """A lookup of shape (256,), uint8: index -> class by its colour; 255 and `ignore_index` are no class by default."""
    table = np.full(256, OUTSIDE, np.uint8)
    keys = palette.astype(np.int32) @ np.array([1 << 16, 1 << 8, 1], np.int32)
    table[: len(keys)] = _colour_table(rule.colours or ())[keys]
    for index in (IGNORED, rule.ignore_index):
        if table[index] == OUTSIDE:
            table[index] = IGNORED
    return table


# How a label is read -> how the audit says it.
WAYS = {
    "colour": "by the colours of their pixels",
    "palette": "by the colours of their palettes",
    "value": "by value",
}


def shown(label: OwnLabel, rule: LabelRule, numbers: np.ndarray) -> Counter[tuple[str, str, str, int]]:
    """Pixels of each (way, index or value, colour, class) in a label; "" for what a way of reading has not."""
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
    """The values of two classes by the labels themselves: (0, 255) where 255 occurs and 1 never does, else None."""
    if not rule.is_ambiguous_mask:
        return None
    found = False
    for label in labels:
        if label.way(rule) != "value" or ((label.values != 0) & (label.values != IGNORED)).any():
            return None
        found = found or bool((label.values == IGNORED).any())
    return MASK if found else None
