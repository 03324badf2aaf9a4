"""Reads a JSON file in COCO's detection format, for the audit, training and evaluation.

Deviations of other programs are normalised if their meaning is certain. Each repair, each omitted annotation and each
fault is counted by kind in the findings.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from gcisg_core.files import is_file
from gcisg_core.problems import DataError
from gcisg_suite.images import displayed_size, most_pixels
from gcisg_suite.progress import shown_if_slow
from gcisg_suite.text import read_json

from .annotations import read_annotations
from .findings import Findings, Level
from .values import id_numbers, identity, number, shown

LISTS = ("images", "annotations", "categories")
FORMAT = "Write the file in COCO's format for detection"
UNIQUE = "Make them unique, or remove the repetitions"


@dataclass(frozen=True)
class CocoData:
    """A data set in COCO's form: ids are unique whole numbers, boxes are [x, y, width, height] in pixels.

    Attributes:
        file: The file that was read.
        images: ``id``, ``file_name``, ``width``, ``height``, and the file's other fields.
        annotations: ``id``, ``image_id``, ``category_id``, ``bbox``, ``area``, ``iscrowd``, ``segmentation`` if masks
            were requested, and the file's other fields.
        categories: ``id`` and ``name``; their ids increase in the order of the labels.
        findings: What was repaired, left out or refused.
    """

    file: Path
    images: list[dict[str, Any]]
    annotations: list[dict[str, Any]]
    categories: list[dict[str, Any]]
    findings: Findings

    @property
    def classes(self) -> list[str]:
        """The names of the categories in the order of the labels."""
        return [item["name"] for item in self.categories]

    @property
    def content(self) -> dict[str, Any]:
        """The whole data set in COCO's format, as copies that the caller may change."""
        parts: dict[str, Any] = {name: [_copy(item) for item in getattr(self, name)] for name in LISTS}
        return {"info": {}, **parts}

    def ordered(self, classes: Sequence[str]) -> CocoData:
        """The same data with the categories in the order of `classes`, matched by name.

        Raises:
            DataError: An annotation's category is not in `classes`.
        """
        if self.classes == list(classes):
            return self
        used = {item["category_id"] for item in self.annotations}
        for item in self.categories:
            if item["name"] not in classes and item["id"] in used:
                what = f"the category {item['name']!r} is not one of the classes trained on, "
                what += f"which are {', '.join(classes)}; the categories of the file are {', '.join(self.classes)}"
                raise DataError(self.file, what, "Give both files the same names, or remove its annotations")
        by_name = {item["name"]: item for item in self.categories}
        ids = [by_name[name]["id"] if name in by_name else None for name in classes]
        known = [number for number in ids if number is not None]
        # Ids that increase with the labels are kept; the framework and pycocotools derive the labels from their order.
        keep = None not in ids and known == sorted(known)
        numbers = known if keep else range(1, len(classes) + 1)
        new = {old: value for old, value in zip(ids, numbers, strict=True) if old is not None}
        return replace(
            self,
            categories=[
                {**by_name.get(name, {}), "id": value, "name": name}
                for name, value in zip(classes, numbers, strict=True)
            ],
            annotations=[{**item, "category_id": new[item["category_id"]]} for item in self.annotations],
        )


def load_coco(file: str | Path, root: str | Path | None = None, masks: str | None = None) -> CocoData:
    """Read and normalise a file.

    Args:
        file: The JSON file.
        root: The folder that `file_name` is relative to; None reads no images.
        masks: The mask format of a model with a mask head, ``polygon`` or ``bitmask``; annotations without a usable
            mask are left out. None without a mask head: masks are dropped and their boxes kept.

    Raises:
        DataError: the file is not in COCO's format, or something in it was refused.
    """
    data = normalise(file, root, masks)
    data.findings.raise_refused()
    return data


def normalise(file: str | Path, root: str | Path | None = None, masks: str | None = None) -> CocoData:
    """:func:`load_coco` for an audit: returns what can be read, and reports what is refused as findings.

    Raises:
        DataError: the file is not valid JSON or lacks one of the lists.
    """
    path = Path(file)
    content, findings = read_lists(path), Findings(path)
    categories = _categories(content["categories"], findings)
    images = _images(content["images"], Path(root) if root else None, findings)
    annotations = read_annotations(content["annotations"], images, categories, masks, findings)
    ordered = sorted(categories.values(), key=lambda item: item["id"])
    return CocoData(path, list(images.values()), annotations, ordered, findings)


def read_categories(file: str | Path) -> list[dict[str, Any]]:
    """The categories alone, in the order of the labels.

    Raises:
        DataError: as :func:`load_coco`.
    """
    findings = Findings(Path(file))
    categories = _categories(read_lists(Path(file))["categories"], findings)
    findings.raise_refused()
    return sorted(categories.values(), key=lambda item: item["id"])


def read_lists(file: Path) -> dict[str, list[dict[str, Any]]]:
    """The three lists of a file; only the annotations may be empty."""
    content = read_json(file, FORMAT)
    if not isinstance(content, dict):
        raise DataError(file, f"holds {shown(content)}, expected an object with {', '.join(LISTS)}", FORMAT)
    for field in LISTS:
        items = content.get(field)
        if not isinstance(items, list):
            found = "is missing" if field not in content else f"is {shown(items)}"
            raise DataError(file, f"`{field}` {found}, expected a list of objects", FORMAT)
        for index, item in enumerate(items):
            if not isinstance(item, dict):
                raise DataError(file, f"{field}[{index}] is {shown(item)}, expected an object", FORMAT)
        if not items and field != "annotations":
            raise DataError(file, f"`{field}` is empty", "Name the file that has them")
        if items and "segments_info" in items[0]:
            remedy = "Name the file of the instances, or convert it: panoptic2detection_coco_format of panopticapi"
            raise DataError(file, "is COCO's panoptic format (`segments_info`), which is not read", remedy)
    return content


def starting_folder(root: Path, name: str) -> Path | None:
    """The parent of `root` that a file name is relative to, such as `images/1.png` for `root` = `.../images`."""
    return next((folder for folder in root.parents if is_file(folder / name)), None)


def _copy(item: dict[str, Any]) -> dict[str, Any]:
    # Detectron2's reader shifts keypoints in place.
    return {**item, "keypoints": [*item["keypoints"]]} if isinstance(item.get("keypoints"), list) else {**item}


def _keyed(
    items: Iterable[dict[str, Any]], field: str, findings: Findings
) -> Iterator[tuple[int | str, dict[str, Any]]]:
    """Each item with its id; items without an id are refused."""
    for index, item in enumerate(items):
        key = identity(item.get("id"))
        if key is None:
            example = f"{field}[{index}].id is {shown(item.get('id'))}, expected a whole number or a string"
            findings.add(Level.REFUSED, f"{field} without an id", example, "Give each a unique id")
            continue
        if type(item["id"]) is float or (isinstance(key, int) and isinstance(item["id"], str)):
            kind = f"ids of {field} written as strings or floats, read as whole numbers"
            findings.add(Level.REPAIRED, kind, f"{field}[{index}].id {item['id']!r}", "Write whole numbers")
        yield key, item


def _note_numbering(numbers: dict[int | str, int], field: str, findings: Findings) -> None:
    changed = [f"{key!r} is {value}" for key, value in numbers.items() if key != value]
    if changed:
        kind = f"ids of {field} that are not whole numbers below 2^53; all are renumbered from 1 in the file's order"
        findings.add(Level.REPAIRED, kind, changed[0], "Write whole numbers", len(changed))


def _categories(items: list[dict[str, Any]], findings: Findings) -> dict[int | str, dict[str, Any]]:
    """Normalised id -> category in COCO's form."""
    found: dict[int | str, dict[str, Any]] = {}
    names: dict[str, int | str] = {}
    for index, (key, item) in enumerate(_keyed(items, "categories", findings)):
        name = item.get("name")
        if isinstance(name, int) and not isinstance(name, bool):
            example = f"categories[{index}].name {name!r}"
            findings.add(Level.REPAIRED, "category names that are numbers, read as strings", example, "Write strings")
            name = str(name)
        if not isinstance(name, str) or not name.strip():
            example = f"categories[{index}].name is {shown(name)}, expected a string"
            findings.add(Level.REFUSED, "categories without a name", example, "Name each")
            name = f"category {key}"
        if name != name.strip():
            example = f"categories[{index}].name {name!r}"
            findings.add(
                Level.REPAIRED, "category names with spaces around them, removed", example, "Remove the spaces"
            )
            name = name.strip()
        if key in found:
            twice = f"categories: id {key!r} occurs twice, as"
            _note_twice("categories", "ids shared by several categories", twice, found[key]["name"], name, findings)
            continue
        if name in names:
            example = f"categories: name {name!r} occurs twice, with the ids {names[name]!r} and {key!r}"
            findings.add(Level.REFUSED, "names shared by several categories", example, UNIQUE)
        names[name] = key
        found[key] = {**item, "id": key, "name": name}
    numbers = id_numbers(found)
    _note_numbering(numbers, "categories", findings)
    return {key: {**item, "id": numbers[key]} for key, item in found.items()}


def _note_twice(group: str, kind: str, twice: str, first: str, second: str, findings: Findings) -> None:
    """Report two entries with one id: a repetition if their names are equal, else `kind`, which is refused."""
    if first == second:
        findings.add(Level.REPAIRED, f"{group} listed twice, used once", f"{twice} {second!r}", UNIQUE)
    else:
        findings.add(Level.REFUSED, kind, f"{twice} {first!r} and {second!r}", UNIQUE)


def _images(items: list[dict[str, Any]], root: Path | None, findings: Findings) -> dict[int | str, dict[str, Any]]:
    """Normalised id -> image in COCO's form."""
    found: dict[int | str, dict[str, Any]] = {}
    names: dict[str, int | str] = {}
    shown_items = shown_if_slow(items, "checking the list of images")
    for index, (key, item) in enumerate(_keyed(shown_items, "images", findings)):
        name = item.get("file_name")
        if not isinstance(name, str) or not name.strip() or "\0" in name:
            example = f"images[{index}].file_name is {shown(name)}, expected the name of a file"
            findings.add(Level.REFUSED, "images without a file name", example, "Add the missing file names")
            continue
        if "\\" in name and not (root and is_file(root / name)):
            findings.add(Level.REPAIRED, "file names with backslashes, read as slashes", repr(name), "Write slashes")
            name = name.replace("\\", "/")
        if key in found:
            kind, twice = (
                "ids shared by several images, whose boxes cannot be told apart",
                f"images: id {key!r} occurs twice, for",
            )
            _note_twice("images", kind, twice, found[key]["file_name"], name, findings)
            continue
        if name in names:
            example = f"images: file_name {name!r} occurs twice, with the ids {names[name]!r} and {key!r}"
            kind = "files listed as several images; each entry is trained on with its own boxes only"
            findings.add(Level.LEFT_OUT, kind, example, "Merge the entries and give their boxes one image_id")
        names[name] = key
        found[key] = {**item, "id": key, "file_name": name}
        found[key]["width"], found[key]["height"] = _size(item, f"images[{index}]", root and root / name, findings)
    numbers = id_numbers(found)
    _note_numbering(numbers, "images", findings)
    return {key: {**item, "id": numbers[key]} for key, item in found.items()}


def _size(item: dict[str, Any], where: str, path: Path | None, findings: Findings) -> tuple[int, int]:
    """Width and height in pixels: as stated, or else those of the file."""
    stated = [number(item.get(field)) for field in ("width", "height")]
    sizes = [int(value) for value in stated if value is not None and value >= 1 and value.is_integer()]
    if len(sizes) == 2 and sizes[0] * sizes[1] > most_pixels():
        example = f"{where} of {shown(item['width'])} x {shown(item['height'])}"
        kind = f"images of more than {most_pixels()} pixels, which Pillow does not open"
        findings.add(Level.REFUSED, kind, example, "Correct width and height")
        return 1, 1
    if len(sizes) == 2:
        return sizes[0], sizes[1]
    example = f"{where}: width {shown(item.get('width'))}, height {shown(item.get('height'))}"
    try:
        size = displayed_size(path or "")
    except DataError:  # the unreadable image is reported later
        kind = "images without a size, whose files cannot be read either"
        findings.add(Level.REFUSED, kind, f"{example}, expected pixels", "Write width and height in pixels")
        return 1, 1
    findings.add(Level.REPAIRED, "images without a size, taken from the file", example, "Write width and height")
    return size
