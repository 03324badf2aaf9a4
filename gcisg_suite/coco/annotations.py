"""Normalises annotations to COCO's form; each repair, omission and refusal is counted as a finding."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from gcisg_suite.progress import shown_if_slow

from .boxes import Entry, are_corners, as_size, refuse_fractions
from .findings import Findings, Level
from .masks import usable_mask
from .values import LARGEST_ID, Box, box_numbers, clip, identity, is_plain_box, number, shown

CROWD = {0: 0, 1: 1, "0": 0, "1": 1}  # False and 1.0 are equal to 0 and 1
Keyed = Mapping[int | str, dict[str, Any]]  # normalised id -> entry in COCO's form


def read_annotations(
    items: list[dict[str, Any]], images: Keyed, categories: Keyed, masks: str | None, findings: Findings
) -> list[dict[str, Any]]:
    """The annotations that can be trained on or count as crowds, in COCO's form.

    Args:
        items: The annotations as they are in the file.
        images, categories: The normalised entries by id.
        masks: The mask format that the model takes, ``polygon`` or ``bitmask``; None without a mask head.
        findings: Receives what was repaired, left out or refused.
    """
    entries = list(_entries(shown_if_slow(items, "checking annotations", "annotation"), images, categories, findings))
    refuse_fractions(entries, findings)
    corners = are_corners(entries, findings)
    found = []
    for entry in shown_if_slow(entries, "checking boxes", "box"):
        box = _inside(entry, entry.box if corners else as_size(entry.box), findings)
        if box is None:
            continue
        crowd = _crowd(entry, findings)
        mask = _mask(entry, masks, crowd, findings)
        if masks and mask is None:
            continue
        x1, y1, x2, y2 = box
        size = [x1, y1, x2 - x1, y2 - y1]
        if not corners and box == as_size(entry.box):
            size = list(entry.box)  # avoids the rounding errors of adding and subtracting again
        item = {name: value for name, value in entry.item.items() if name not in ("segmentation", "ignore")}
        item |= {"image_id": entry.image["id"], "category_id": entry.category, "bbox": size, "iscrowd": crowd}
        item["area"] = _box_area(entry, size, findings)
        if "keypoints" in item and not _are_keypoints(item["keypoints"]):
            example = f"{entry.where}: keypoints {shown(item.pop('keypoints'))}"
            findings.add(Level.REPAIRED, "keypoints that are not numbers x, y, v, left out", example, "Correct them")
        found.append(item if mask is None else {**item, "segmentation": mask})
    return _numbered(found, findings)


def _entries(items: Iterable[dict[str, Any]], images: Keyed, categories: Keyed, findings: Findings) -> Iterator[Entry]:
    """The annotations whose image, category and box are known."""
    unknown = set()
    for index, item in enumerate(items):
        key = identity(item.get("id"))
        where = f"annotations[{index}]" if key is None else f"annotation {shown(key)}"
        image = images.get(identity(item.get("image_id")))  # type: ignore[arg-type]
        category = categories.get(identity(item.get("category_id")))  # type: ignore[arg-type]
        if image is None:
            unknown.add(identity(item.get("image_id")))
            example = f"{where}: image_id {shown(item.get('image_id'))} is not in `images`"
            remedy = "Restore the image's entry, or remove the annotation"
            findings.add(Level.LEFT_OUT, "annotations whose image is not listed, left out", example, remedy)
            continue
        if category is None:
            example = f"{where}: category_id {shown(item.get('category_id'))} is not in `categories`"
            remedy = "Add the category to `categories`, or remove the annotation"
            findings.add(Level.REFUSED, "annotations whose category is not listed", example, remedy)
            continue
        box = box_numbers(item.get("bbox"))
        if box is None:
            what = f"bbox is {shown(item.get('bbox'))}, expected 4 finite numbers [x, y, width, height]"
            findings.add(Level.LEFT_OUT, "unusable boxes, left out", f"{where}: {what}", "Correct or remove them")
            continue
        if not is_plain_box(item["bbox"]):
            example = f"{where}: bbox {shown(item['bbox'])}"
            findings.add(Level.REPAIRED, "boxes written as strings, read as numbers", example, "Write 4 numbers")
        yield Entry(where, item, image, category["id"], box)
    _refuse_shifted(unknown, images, findings)


def _refuse_shifted(unknown: set[int | str | None], images: Keyed, findings: Findings) -> None:
    """Refuse a file where `images` count from 0 and image_id from 1, or vice versa: boxes would be on wrong images."""
    numbers = sorted(key for key in images if isinstance(key, int))
    if not numbers or numbers not in (list(range(len(images))), list(range(1, len(images) + 1))):
        return
    first, last = numbers[0], numbers[-1]
    if unknown == ({0} if first else {last + 1}):
        example = f"image_id {next(iter(unknown))}, where the ids of `images` are {first} to {last}"
        kind = f"image_id values that seem to count from {1 - first}, while the ids of `images` count from {first}"
        findings.add(Level.REFUSED, kind, example, "Count both from the same number")


def _inside(entry: Entry, box: Box, findings: Findings) -> Box | None:
    """The box (x1, y1, x2, y2), clipped if it reaches outside its image by more than a rounding error."""
    cut = clip(box, entry.image["width"], entry.image["height"])
    if cut is not None and not entry.reaches_outside(box):
        return box
    size = f"its image of {entry.image['width']} x {entry.image['height']}"
    bbox = f"{entry.where}: bbox {shown(entry.item['bbox'])}"
    if box[2] <= box[0] or box[3] <= box[1]:
        example = f"{bbox} has no area, expected width and height above 0"
        findings.add(Level.LEFT_OUT, "boxes without area, left out", example, "Correct or remove them")
        return None
    if cut is None:
        example = f"{bbox} lies outside {size}"
        findings.add(Level.LEFT_OUT, "boxes outside their images, left out", example, "Correct or remove them")
        return None
    example = f"{bbox} reaches outside {size}"
    remedy = "Clip them in the file; were they drawn at another size?"
    findings.add(Level.LEFT_OUT, "boxes that reach outside their images, clipped", example, remedy)
    return cut


def _crowd(entry: Entry, findings: Findings) -> int:
    given, ignore = entry.item.get("iscrowd"), entry.item.get("ignore")
    if ignore in (1, "1") and given in (None, *CROWD):
        kind = "annotations with `ignore` 1, taken as `iscrowd` 1"
        findings.add(Level.REPAIRED, kind, f"{entry.where}: ignore {ignore!r}", "Write `iscrowd`")
        return 1
    if given is None:
        example = f"{entry.where}: iscrowd {'null' if 'iscrowd' in entry.item else 'missing'}"
        findings.add(Level.REPAIRED, "annotations without `iscrowd`, taken as 0", example, "Write 0 or 1")
        return 0
    if isinstance(given, str | int | float) and given in CROWD:
        if type(given) is not int:
            example = f"{entry.where}: iscrowd {given!r}"
            findings.add(Level.REPAIRED, "`iscrowd` that is not a whole number, taken as one", example, "Write 0 or 1")
        return CROWD[given]
    example = f"{entry.where}: iscrowd is {shown(given)}, expected 0 or 1"
    findings.add(Level.REFUSED, "`iscrowd` that is neither 0 nor 1", example, "Write 0 for an object, 1 for a group")
    return 0


def _box_area(entry: Entry, size: list[float], findings: Findings) -> float:
    """The stated area; width times height if it is missing or larger than the box."""
    given, product = entry.item.get("area"), size[2] * size[3]
    area = number(given)
    if area is not None and 0 < area <= product * 1.01 + 1:
        return area
    if given is None:
        kind, example = "annotations without `area`, taken as width times height", entry.where
    else:
        kind, example = "unusable `area`, replaced by width times height", f"{entry.where}: area {shown(given)}"
    remedy = "Write the object's number of pixels; COCO's AP for small, medium and large objects depends on it"
    findings.add(Level.REPAIRED, kind, example, remedy)
    return product


def _are_keypoints(value: Any) -> bool:
    return isinstance(value, list) and len(value) % 3 == 0 and all(type(v) in (int, float) for v in value)


def _mask(entry: Entry, masks: str | None, crowd: int, findings: Findings) -> Any:
    """The mask for a mask head; None without a mask head, or if there is no usable mask."""
    given = entry.item.get("segmentation")
    found = usable_mask(given, entry.image["height"], entry.image["width"])
    if found is not None and not (masks == "polygon" and isinstance(found, dict)):
        return found if masks else None
    example = f"{entry.where}: segmentation {shown(given)}"
    remedy = "Write polygons of 3 or more points, or run lengths of the image's size"
    if masks and found is None:
        findings.add(Level.LEFT_OUT, "annotations without a usable mask, left out", example, remedy)
    elif found is None and given:
        findings.add(Level.REPAIRED, "masks that cannot be used; without a mask head only boxes count", example, remedy)
    elif found is not None and not crowd:
        kind = "masks as run lengths (RLE), where INPUT.MASK_FORMAT is polygon"
        findings.add(Level.REFUSED, kind, example, 'Set INPUT.MASK_FORMAT: "bitmask"')
    return found if masks else None


def _numbered(items: list[dict[str, Any]], findings: Findings) -> list[dict[str, Any]]:
    """Make ids positive and unique; pycocotools treats a match with id 0 as no match."""
    seen: set[Any] = set()
    kind = "annotation ids that are missing, repeated, below 1 or not whole numbers; all are renumbered from 1"
    faulty = False
    for item in items:
        given = item.get("id")
        if type(given) is not int or not 0 < given < LARGEST_ID or given in seen:
            times = "occurs twice" if given.__hash__ and given in seen else "is not a valid id"
            example = f"annotations: id {shown(given)} {times}"
            findings.add(Level.REPAIRED, kind, example, "Give each its own id, from 1")
            faulty = True
        else:
            seen.add(given)
    return [{**item, "id": index} for index, item in enumerate(items, start=1)] if faulty else items
