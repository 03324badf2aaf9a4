"""Scenes in the official formats of GTAV, Sim10k and Cityscapes, as their downloads lie on disk, and in COCO's.

Cityscapes' polygons are the first truth: label and instance pictures are painted from them with PIL, in the order of
the file, as the official `json2labelImg` and `json2instanceImg` do. A digit's outline runs through the centres of its
border pixels, so that painting it gives back exactly its mask; its holes follow as polygons of the background's class,
the way Cityscapes' annotators work.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import cv2
import numpy as np
from PIL import Image, ImageDraw
from scipy import ndimage

from .scene import Scene

BACKGROUND = "road"
# Cityscapes class -> label ID and colour of the official table, the classes used here.
LABELS = {
    "road": (7, (128, 64, 128)),
    "person": (24, (220, 20, 60)),
    "rider": (25, (255, 0, 0)),
    "car": (26, (0, 0, 142)),
    "truck": (27, (0, 0, 70)),
    "bus": (28, (0, 60, 100)),
    "train": (31, (0, 80, 100)),
    "motorcycle": (32, (0, 0, 230)),
    "bicycle": (33, (119, 11, 32)),
}
VOC_NAMES = {"car": "car", "motorcycle": "motorbike", "person": "person"}  # Cityscapes class -> Sim10k class
DIFFICULT_BELOW = 20  # boxes lower than this many pixels carry Sim10k's difficult flag


def write_gtav(folder: Path, scenes: Iterable[Scene]) -> None:
    """`images/00001.png` (RGB) and `labels/00001.png` (mode P, pixel = Cityscapes label ID, palette = its colour)."""
    for name in ("images", "labels"):
        (folder / name).mkdir()
    palette = np.zeros((256, 3), np.uint8)
    for label_id, colour in LABELS.values():
        palette[label_id] = colour
    for number, scene in enumerate(scenes, start=1):
        labels = Image.fromarray(paint_labels(polygon_objects(scene), scene.image.shape[:2]))
        labels.putpalette(palette.tobytes())  # turns the grey picture into a palette picture, values untouched
        Image.fromarray(scene.image).save(folder / "images" / f"{number:05d}.png")
        labels.save(folder / "labels" / f"{number:05d}.png")


def write_sim10k(folder: Path, scenes: Iterable[Scene]) -> list[str]:
    """`VOC2012/{JPEGImages/*.jpg, Annotations/*.xml, ImageSets/Main/trainval10k.txt}`, pixel coordinates from 1.

    Returns:
        The images' names below `JPEGImages`.
    """
    voc = folder / "VOC2012"
    for name in ("JPEGImages", "Annotations", "ImageSets/Main"):
        (voc / name).mkdir(parents=True)
    names = []
    for number, scene in enumerate(scenes, start=1):
        name = f"{number:07d}"
        Image.fromarray(scene.image).save(voc / "JPEGImages" / f"{name}.jpg", quality=95, subsampling=0)
        tree = ElementTree.ElementTree(voc_annotation(scene, f"{name}.jpg"))
        ElementTree.indent(tree)
        tree.write(voc / "Annotations" / f"{name}.xml")
        names.append(name)
    (voc / "ImageSets" / "Main" / "trainval10k.txt").write_text("".join(f"{name}\n" for name in names))
    return [f"{name}.jpg" for name in names]


def write_cityscapes(folder: Path, split: str, scenes: Iterable[Scene], city: str = "mini") -> list[str]:
    """`leftImg8bit/<split>/<city>/` and `gtFine/<split>/<city>/` with polygons, label IDs, instance IDs and colours.

    Returns:
        The images' names below `leftImg8bit`.
    """
    images, truth = (folder / kind / split / city for kind in ("leftImg8bit", "gtFine"))
    images.mkdir(parents=True)
    truth.mkdir(parents=True)
    names = []
    for number, scene in enumerate(scenes):
        stem, size = f"{city}_{number:06d}_000019", scene.image.shape[:2]
        objects = polygon_objects(scene)
        Image.fromarray(scene.image).save(images / f"{stem}_leftImg8bit.png")
        annotation = {"imgHeight": size[0], "imgWidth": size[1], "objects": objects}
        (truth / f"{stem}_gtFine_polygons.json").write_text(json.dumps(annotation))
        Image.fromarray(paint_labels(objects, size)).save(truth / f"{stem}_gtFine_labelIds.png")
        Image.fromarray(paint_instances(objects, size)).save(truth / f"{stem}_gtFine_instanceIds.png")
        Image.fromarray(paint_colours(objects, size)).save(truth / f"{stem}_gtFine_color.png")
        names.append(f"{split}/{city}/{stem}_leftImg8bit.png")
    return names


def write_coco(file: Path, names: Iterable[str], scenes: Iterable[Scene]) -> None:
    """Boxes of all eight digits in COCO's JSON; `names` are the scenes' files, below the folder of images."""
    images: list[dict[str, Any]] = []
    annotations: list[dict[str, Any]] = []
    classes = [name for name in LABELS if name != BACKGROUND]
    for number, (name, scene) in enumerate(zip(names, scenes, strict=True), start=1):
        height, width = scene.image.shape[:2]
        images.append({"id": number, "file_name": name, "width": width, "height": height})
        for item in scene.objects:
            left, top, right, bottom = item.box
            box = [left, top, right - left + 1, bottom - top + 1]
            annotations.append(
                {
                    "id": len(annotations) + 1,
                    "image_id": number,
                    "category_id": classes.index(item.name) + 1,
                    "bbox": box,
                    "area": box[2] * box[3],
                    "iscrowd": 0,
                }
            )
    categories = [{"id": number, "name": name} for number, name in enumerate(classes, start=1)]
    file.write_text(json.dumps({"images": images, "annotations": annotations, "categories": categories}))


def polygon_objects(scene: Scene) -> list[dict[str, Any]]:
    """The scene as Cityscapes' `objects`: the background, each digit's outline, then its holes as background.

    Returns:
        Dicts with `label` and `polygon`, a list of [x, y] in whole pixels.
    """
    height, width = scene.image.shape[:2]
    frame = [[0, 0], [width - 1, 0], [width - 1, height - 1], [0, height - 1]]
    objects: list[dict[str, Any]] = [{"label": BACKGROUND, "polygon": frame}]
    for item in scene.objects:
        filled = ndimage.binary_fill_holes(item.mask)
        objects += [{"label": item.name, "polygon": outline} for outline in outlines(filled)]
        objects += [{"label": BACKGROUND, "polygon": outline} for outline in outlines(filled & ~item.mask)]
    return objects


def outlines(mask: np.ndarray) -> list[list[list[int]]]:
    """Closed chains through the border pixels of each 8-connected piece without holes of a (H, W) bool mask."""
    found, _ = cv2.findContours(mask.astype(np.uint8), cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_NONE)
    return [contour[:, 0].tolist() for contour in found]


def paint_labels(objects: list[dict[str, Any]], size: tuple[int, int]) -> np.ndarray:
    """(H, W) uint8 of Cityscapes label IDs; 0 where no polygon is."""
    return _painted(objects, [LABELS[item["label"]][0] for item in objects], size, "L").astype(np.uint8)


def paint_instances(objects: list[dict[str, Any]], size: tuple[int, int]) -> np.ndarray:
    """(H, W) uint16: class * 1000 + running number for digits, the label ID for the background."""
    counts = dict.fromkeys(LABELS, 0)
    values = []
    for item in objects:
        name = item["label"]
        values.append(LABELS[name][0] if name == BACKGROUND else 1000 * LABELS[name][0] + counts[name])
        counts[name] += 1
    return _painted(objects, values, size, "I").astype(np.uint16)


def paint_colours(objects: list[dict[str, Any]], size: tuple[int, int]) -> np.ndarray:
    """(H, W, 4) uint8, the classes in Cityscapes' colours, opaque."""
    palette = np.zeros((256, 4), np.uint8)
    for label_id, colour in LABELS.values():
        palette[label_id] = (*colour, 255)
    return palette[paint_labels(objects, size)]


def voc_annotation(scene: Scene, filename: str) -> ElementTree.Element:
    """The XML of one scene: `size`, then an `object` for each digit that plays one of Sim10k's three classes."""
    height, width = scene.image.shape[:2]
    root = ElementTree.Element("annotation")
    _child(root, "folder", "VOC2012")
    _child(root, "filename", filename)
    size = _child(root, "size")
    for name, value in (("width", width), ("height", height), ("depth", 3)):
        _child(size, name, value)
    for item in scene.objects:
        if item.name not in VOC_NAMES:
            continue
        left, top, right, bottom = item.box
        entry = _child(root, "object")
        _child(entry, "name", VOC_NAMES[item.name])
        _child(entry, "difficult", int(bottom - top + 1 < DIFFICULT_BELOW))
        box = _child(entry, "bndbox")
        for name, value in (("xmin", left), ("ymin", top), ("xmax", right), ("ymax", bottom)):
            _child(box, name, value + 1)
    return root


def _painted(objects: list[dict[str, Any]], values: list[int], size: tuple[int, int], mode: str) -> np.ndarray:
    picture = Image.new(mode, (size[1], size[0]))
    draw = ImageDraw.Draw(picture)
    for item, value in zip(objects, values, strict=True):
        draw.polygon([tuple(point) for point in item["polygon"]], fill=value)
    return np.asarray(picture)


def _child(parent: ElementTree.Element, name: str, text: object = None) -> ElementTree.Element:
    child = ElementTree.SubElement(parent, name)
    if text is not None:
        child.text = str(text)
    return child
