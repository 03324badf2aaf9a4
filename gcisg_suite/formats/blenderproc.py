"""BlenderProc's HDF5: one numbered file for each frame, with `colors`, and `class_segmaps` or `instance_segmaps`.

The output of its COCO writer is read as COCO. Source: BlenderProc's `writer/README.md`.
"""

from __future__ import annotations

import functools
import json
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np

from gcisg_core.problems import DataError, reading
from gcisg_suite.formats.forms import BACKGROUND, Box, BoxImage, Data, Labels, MaskImage, around, names_of
from gcisg_suite.progress import progress

H5PY = "Install it (python -m pip install h5py), or use BlenderProc's COCO writer"
AGAIN = "Render the frame again, or remove the file"


def is_hdf5(folder: Path) -> bool:
    """Whether there are numbered HDF5 files."""
    return bool(_files(folder))


def _files(folder: Path) -> list[Path]:
    return sorted((path for path in folder.glob("*.hdf5") if path.stem.isdecimal()), key=lambda path: int(path.stem))


def _read(file: Path, *keys: str) -> list[np.ndarray]:
    """Arrays of a file. Raises `DataError` if a key is missing or h5py is not installed."""
    try:
        import h5py
    except ImportError as error:
        raise DataError(file, "needs the package h5py", H5PY) from error
    with reading(file, "HDF5", AGAIN), h5py.File(file) as content:
        missing = [key for key in keys if key not in content]
        if missing:
            what = f"has no {missing[0]}; its keys are {', '.join(content)}"
            raise DataError(file, what, "Add it to the data that you pass to write_hdf5")
        return [np.asarray(content[key]) for key in keys]


def _pixels(file: Path) -> np.ndarray:
    return _read(file, "colors")[0][..., :3]


def read_masks(folder: Path, role: str) -> Data:
    """Classes by `category_id`; the number is the name of the class, and 0 is the background."""
    files, seen = _files(folder), {0}
    for file in progress(files, "reading", "file"):
        seen |= {*np.unique(_read(file, "class_segmaps")[0]).tolist()}
    names = {value: str(value) if value else BACKGROUND for value in sorted(seen)}
    images = [MaskImage(_image(file), functools.partial(_labels, file, names), _partial(file)) for file in files]
    return Data(folder, images, [*names.values()])


def _image(file: Path) -> Path:
    return Path(f"{file.stem}.png")


def _partial(file: Path) -> functools.partial[np.ndarray]:
    return functools.partial(_pixels, file)


def _labels(file: Path, names: dict[int, str]) -> Labels:
    return Labels(_read(file, "class_segmaps")[0], names)


def read_boxes(folder: Path, role: str) -> Data:
    """Tight boxes of the instances; a category is named as BlenderProc's COCO writer names it."""
    images, names = [], dict[int, str]()
    for file in progress(_files(folder), "reading", "file"):
        ids, text = _read(file, "instance_segmaps", "instance_attribute_maps")
        boxes = []
        for item in _attributes(file, text):
            category, corners = int(item["category_id"]), around(ids == int(item["idx"]))
            if category and corners:
                boxes.append(Box(names.setdefault(category, str(item.get("name", category))), corners))
        images.append(BoxImage(_image(file), (ids.shape[1], ids.shape[0]), boxes, _partial(file)))
    return Data(folder, images, names_of(images))


def _attributes(file: Path, text: np.ndarray) -> list[dict[str, Any]]:
    with suppress(Exception):  # any other content is reported below
        items = json.loads(text.tobytes().rstrip(b"\0"))
        if all(int(item["idx"]) >= 0 and int(item["category_id"]) >= 0 for item in items):
            return list(items)
    what = "instance_attribute_maps holds no list of objects with idx and category_id"
    raise DataError(file, what, 'Set default_values={"category_id": 0} in enable_segmentation_output')
