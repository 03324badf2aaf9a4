"""Pascal VOC's XML, in the folders of the challenge or beside the images; and KITTI's text files.

VOC counts pixels from 1 and includes both ends: (xmin, ymin, xmax, ymax) is (xmin - 1, ymin - 1, xmax, ymax) half-open.
Some programs count from 0. If any xmin or ymin in a folder is below 1, its boxes are read as half-open from 0. KITTI
counts from 0. Source: the development kits of VOC2012 and of KITTI's object benchmark.
"""

from __future__ import annotations

import xml.etree.ElementTree as ET
from pathlib import Path

from gcisg_core.files import is_file
from gcisg_core.problems import DataError, reading
from gcisg_suite.formats.forms import (
    Box,
    BoxImage,
    Data,
    beside,
    finite,
    image_files,
    names_of,
    part_of,
    required_image,
)
from gcisg_suite.images import displayed_size
from gcisg_suite.progress import progress
from gcisg_suite.text import read_lines

XML = "Correct the file, or remove it with its image and its line in ImageSets"
KITTI_LINE = "Expected 15 or 16 values: type truncated occluded alpha left top right bottom and 7 of the 3D box"
ANNOTATIONS = ("Annotations", "annotations", "labels", "xml", "xmls")
IMAGES = ("JPEGImages", "images", "Images")


def _voc_home(folder: Path) -> Path:
    """The folder that holds `Annotations`, such as `VOCdevkit/VOC2012`."""
    found = sorted(path.parent for path in folder.glob("**/Annotations") if path.is_dir())
    return found[-1] if found and not (folder / "Annotations").is_dir() else folder


def _is_voc_file(path: Path) -> bool:
    try:
        return next(ET.iterparse(path, events=("start",)))[1].tag == "annotation"
    except Exception:  # the parser raises many types of errors
        return False


def is_voc(folder: Path) -> bool:
    """Whether there is an XML file whose root is `annotation`."""
    files = (path for path in folder.rglob("*.xml") if not path.name.startswith("."))
    return any(_is_voc_file(path) for _, path in zip(range(20), files, strict=False))


def _voc_files(home: Path, role: str) -> list[Path]:
    labels = next((home / name for name in ANNOTATIONS if any((home / name).glob("**/*.xml"))), home)
    lists = {path.stem: path for path in (home / "ImageSets/Main").glob("*.txt")}
    if part := part_of([*lists], role):
        names = [line.split()[0] for line in read_lines(lists[part]) if line.strip()]
        return [labels / f"{name}.xml" for name in names]
    if inner := part_of([path.name for path in labels.iterdir() if path.is_dir()], role):
        labels = labels / inner
    return sorted(path for path in labels.rglob("*.xml") if not path.name.startswith("."))


def read_voc(folder: Path, role: str) -> Data:
    """Boxes; `difficult` objects become crowds, as the challenge ignores them in the evaluation."""
    home, images = _voc_home(folder), []
    files = _voc_files(home, role)
    if not files:
        raise DataError(folder, "holds no XML file of VOC", "Export the boxes; label images are for segmentation")
    for file in progress(files, "reading", "file"):
        with reading(file, "XML", XML):
            root = ET.parse(file).getroot()
        images.append(BoxImage(_voc_image(home, file, root), _voc_size(file, root), _voc_boxes(file, root)))
    if all(min(box.corners[:2]) >= 1 for image in images for box in image.boxes):
        images = [image._replace(boxes=[_from_0(box) for box in image.boxes]) for image in images]
    return Data(home, images, names_of(images))


def _from_0(box: Box) -> Box:
    x1, y1, x2, y2 = box.corners
    return box._replace(corners=(x1 - 1, y1 - 1, x2, y2))


def _voc_image(home: Path, file: Path, root: ET.Element) -> Path:
    named = (root.findtext("filename") or "").strip().replace("\\", "/").rpartition("/")[2]
    inner = file.relative_to(home).parent
    folders = [file.parent, *(home / name for name in IMAGES), *(home / name / inner.name for name in IMAGES), home]
    for folder in folders:
        if named and is_file(folder / named):
            return folder / named
        if path := beside(folder / file.stem):
            return path
    what = f"belongs to the image {named or file.stem!r}, which is not in {', '.join(IMAGES)} or beside the file"
    raise DataError(file, what, "Restore it, or remove both")


def _voc_size(file: Path, root: ET.Element) -> tuple[int, int] | None:
    if root.find("size") is None:
        return None
    width, height = (finite(root.findtext(f"size/{key}"), file, f"size/{key}", XML) for key in ("width", "height"))
    return (int(width), int(height)) if width > 0 and height > 0 else None  # some tools write 0 for unknown


def _voc_boxes(file: Path, root: ET.Element) -> list[Box]:
    boxes = []
    for index, node in enumerate(root.findall("object")):
        where, name = f"object[{index}]", (node.findtext("name") or "").strip()
        if not name:
            raise DataError(file, f"{where}/name is empty, expected the class", XML)
        x1, y1, x2, y2 = (
            finite(node.findtext(f"bndbox/{key}"), file, f"{where}/bndbox/{key}", XML)
            for key in ("xmin", "ymin", "xmax", "ymax")
        )
        boxes.append(Box(name, (x1, y1, x2, y2), (node.findtext("difficult") or "0").strip() == "1"))
    return boxes


def _kitti_labels(folder: Path, role: str) -> Path | None:
    """`training/label_2`, `label_2`, or `labels` beside `images`; in the role's part if the folder has parts."""
    homes = [folder, folder / "training", *(folder / part for part in ("train", "val"))]
    if part := part_of([path.name for path in folder.iterdir() if path.is_dir()], role):
        homes.insert(0, folder / part)
    found = (home / name for home in homes for name in ("label_2", "labels"))
    return next((path for path in found if any(path.glob("*.txt"))), None)


def is_kitti(folder: Path) -> bool:
    """Whether the first non-empty label file is in KITTI's format."""
    labels = _kitti_labels(folder, "all")
    for path in sorted(labels.glob("*.txt"))[:20] if labels else ():
        lines = [line.split() for line in path.read_text(errors="replace").splitlines() if line.strip()]
        if lines:
            return len(lines[0]) in (15, 16) and not lines[0][0].lstrip("-").isdecimal()
    return False


def read_kitti(folder: Path, role: str) -> Data:
    """Boxes of all types except `DontCare`, which are counted as left out."""
    labels = _kitti_labels(folder, role)
    if labels is None:
        raise DataError(folder, "holds no label_2/*.txt", "Name the folder that holds image_2 and label_2")
    images_of = {"label_2": "image_2", "labels": "images"}[labels.name]
    data = Data(labels.parent, [], [])
    for file in progress(sorted(labels.glob("*.txt")), "reading", "file"):
        path, boxes = required_image(labels.parent / images_of / file.stem, file), []
        for index, line in enumerate(read_lines(file), start=1):
            words = line.split()
            if not words:
                continue
            where = f"{file} line {index}"
            if len(words) not in (15, 16):
                raise DataError(where, f"{len(words)} values", KITTI_LINE)
            x1, y1, x2, y2 = (finite(word, where, "a side of the box", KITTI_LINE) for word in words[4:8])
            if words[0] == "DontCare":
                data.leave("DontCare regions")
            else:
                boxes.append(Box(words[0], (x1, y1, x2, y2)))
        data.images.append(BoxImage(path, displayed_size(path), boxes))
    paths = image_files(labels.parent / images_of)
    data.leave("images without a label file", count=len(paths) - len(data.images))
    data.classes = names_of(data.images)
    return data
