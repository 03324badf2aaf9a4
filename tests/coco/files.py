"""Small COCO files, and the ways in which other programs write them."""

import json

from gcisg_suite.coco.load import load_coco

SIZE = (96, 64)  # width, height
BOXES = [(50, 4, 36, 30), (8, 6, 36, 30), (11, 30, 36, 30)]  # the first is not a pair of corners


def entry(number, box):
    x, y, width, height = box
    outline = [[x, y, x + width, y, x + width, y + height, x, y + height]]
    return {"id": number, "image_id": number, "category_id": 1 + number % 2, "bbox": [*box], "area": width * height,
            "iscrowd": 0, "segmentation": outline}  # fmt: skip


def make(boxes=BOXES):
    """Three images, a box on each, two categories."""
    images = [{"id": n, "file_name": f"{n}.png", "width": SIZE[0], "height": SIZE[1]} for n in (1, 2, 3)]
    annotations = [entry(number, box) for number, box in enumerate(boxes, start=1)]
    return {"images": images, "annotations": annotations,
            "categories": [{"id": 1, "name": "cup"}, {"id": 2, "name": "box"}]}  # fmt: skip


def write(tmp_path, content, encoding="utf-8"):
    file = tmp_path / "own.json"
    file.write_text(json.dumps(content), encoding=encoding)
    return file


def read(tmp_path, content, **options):
    return load_coco(write(tmp_path, content), tmp_path, **options)


def lines(data, level):
    return [problem.what for problem in data.findings.problems(level)]


def each(field, value, part="annotations"):
    """Gives each entry of a list a value, which may depend on the entry."""

    def change(content):
        for item in content[part]:
            item[field] = value(item) if callable(value) else value

    return change


def without(field, part="annotations"):
    def change(content):
        for item in content[part]:
            del item[field]

    return change


def ids(convert):
    """Writes the ids of images, and those that point at them, in another way."""

    def change(content):
        for item in content["images"]:
            item["id"] = convert(item["id"])
        for item in content["annotations"]:
            item["image_id"] = convert(item["image_id"])

    return change


def categories(convert):
    def change(content):
        for item in content["categories"]:
            item["id"] = convert(item["id"])
        for item in content["annotations"]:
            item["category_id"] = convert(item["category_id"])

    return change


def corners(item):
    x, y, width, height = item["bbox"]
    return [x, y, x + width, y + height]


# Situation -> (how it is written, what the note must say). After each the data are those of the good file.
REPAIRS = {
    "no iscrowd": (without("iscrowd"), "annotations without `iscrowd`, taken as 0: 3, such as annotation 1"),
    "iscrowd null": (each("iscrowd", None), "without `iscrowd`, taken as 0: 3, such as annotation 1: iscrowd null"),
    "iscrowd bool": (each("iscrowd", False), "`iscrowd` that is not a whole number, taken as one: 3"),
    "iscrowd text": (each("iscrowd", "0"), "annotation 1: iscrowd '0'"),
    "no area": (without("area"), "annotations without `area`, taken as width times height: 3"),
    "area text": (each("area", "x"), "unusable `area`, replaced by width times height: 3, such as annotation 1: area"),
    "area NaN": (each("area", float("nan")), "annotation 1: area nan"),
    "area huge": (each("area", 1e12), "annotation 1: area 1000000000000.0"),
    "area 0": (each("area", 0), "annotation 1: area 0"),
    "ids as floats": (ids(float), "ids of images written as strings or floats, read as whole numbers: 3"),
    "ids as texts": (ids(str), "such as images[0].id '1'"),
    "categories as floats": (categories(float), "ids of categories written as strings or floats"),
    "categories as texts": (categories(str), "such as categories[0].id '1'"),
    "boxes from 0": (each("id", lambda item: item["id"] - 1), "annotations: id 0 is not a valid id"),
    "boxes of one id": (each("id", 7), "all are renumbered from 1: 2, such as annotations: id 7 occurs twice"),
    "boxes without id": (without("id"), "annotations: id None is not a valid id"),
    "box id bool": (each("id", True), "annotations: id True is not a valid id"),
    "box id list": (each("id", [1]), "annotations: id [1] is not a valid id"),
    "box id float": (each("id", lambda item: float(item["id"])), "annotations: id 1.0 is not a valid id"),
    "box as text": (each("bbox", lambda item: str(item["bbox"])), "boxes written as strings, read as numbers: 3"),
    "numbers as texts": (each("bbox", lambda item: [*map(str, item["bbox"])]), "annotation 1: bbox ['50', '4', '36',"),
    "corners": (each("bbox", corners), "boxes that are corners [x1, y1, x2, y2], read as such"),
    "backslashes": (each("file_name", lambda item: f".\\{item['id']}.png", "images"), "backslashes, read as slashes"),
    "image twice": (lambda c: c["images"].append(c["images"][0]), "images: id 1 occurs twice, for '1.png'"),
    "category twice": (lambda c: c["categories"].append(c["categories"][0]), "categories: id 1 occurs twice, as 'cup'"),
    "size as text": (each("width", "96", "images"), None),
    "name with spaces": (lambda c: c["categories"][0].update(name="cup "), "categories[0].name 'cup '"),
}  # fmt: skip
