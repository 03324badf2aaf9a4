"""Pascal VOC's label images: `JPEGImages/a.jpg`, `SegmentationClass/a.png`, `ImageSets/Segmentation/<part>.txt`.

The colours are those of `labelmap.txt` (`name:R,G,B:parts:actions`), which CVAT and Datumaro write. Without it, they
are the challenge's. Label images without colours hold the index of the class in the same list.
"""

from __future__ import annotations

import functools
from pathlib import Path

from gcisg_core.problems import DataError
from gcisg_suite.formats.colours import Keys, labels_by_colour
from gcisg_suite.formats.forms import Data, MaskImage, image_files, part_of, required_image
from gcisg_suite.progress import shown_if_slow
from gcisg_suite.text import read_lines

FOLDER, MAP = "SegmentationClass", "labelmap.txt"
NAMES = ("background", "aeroplane", "bicycle", "bird", "boat", "bottle", "bus", "car", "cat", "chair", "cow",
         "diningtable", "dog", "horse", "motorbike", "person", "pottedplant", "sheep", "sofa", "train",
         "tvmonitor")  # fmt: skip
BORDER = ((224, 224, 192, 255), (255,))
COLOURS = f"Write the classes and their colours into {MAP}, one line `name:R,G,B::` for each"


def find_masks(folder: Path) -> Path | None:
    """The folder that holds `SegmentationClass`, such as `VOCdevkit/VOC2012`."""
    return next((path.parent for path in sorted(folder.glob(f"**/{FOLDER}")) if path.is_dir()), None)


def read_masks(folder: Path, role: str) -> Data:
    """Classes by colour; the borders of objects have no class. Raises `DataError`."""
    home = find_masks(folder)
    if home is None:
        raise DataError(folder, f"holds no {FOLDER}", "Put the label images there; boxes alone are for detection")
    names, table = _classes(home / MAP)
    lists = {path.stem: path for path in (home / "ImageSets/Segmentation").glob("*.txt")}
    if part := part_of([*lists], role):
        stems = [line.split()[0] for line in read_lines(lists[part]) if line.strip()]
        files = [home / FOLDER / f"{stem}.png" for stem in stems]
    else:
        files = image_files(home / FOLDER)
    images = []
    for file in shown_if_slow(files, "looking for the images", "label"):
        stem = home / "JPEGImages" / file.relative_to(home / FOLDER).with_suffix("")
        images.append(MaskImage(required_image(stem, file), functools.partial(labels_by_colour, file, table, COLOURS)))
    return Data(home, images, names)


def _classes(file: Path) -> tuple[list[str], Keys]:
    """The names of the classes, and the class of each colour and index."""
    fields = (
        [line.split(":") for line in read_lines(file) if line.strip()[:1] not in ("", "#")] if file.is_file() else []
    )
    names = [parts[0].strip() for parts in fields] or [*NAMES]
    table: dict[tuple[int, ...], str | None] = dict.fromkeys(BORDER)
    for index, name in enumerate(names):
        given = fields[index][1].split(",") if fields and len(fields[index]) > 1 and fields[index][1].strip() else None
        if given and not (len(given) == 3 and all(word.strip().isdigit() for word in given)):
            raise DataError(f"{file} line {index + 1}", f"the colour is {fields[index][1]!r}, expected R,G,B", COLOURS)
        colour = tuple(map(int, given)) if given else _colour(index)
        table |= {(*colour, 255): name, (index,): name}
    return names, table


def _colour(index: int) -> tuple[int, ...]:
    """The challenge's colour of a class: index bits 0, 3, 6 become the high bits of red, 1, 4, 7 green, 2, 5 blue."""
    return tuple(sum((index >> (3 * k + channel) & 1) << (7 - k) for k in range(3)) for channel in range(3))
