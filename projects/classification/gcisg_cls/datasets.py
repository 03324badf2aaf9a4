"""VisDA-17 in the layout of its official download, which the miniature benchmark shares."""

from __future__ import annotations

import logging
import re
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path, PurePath
from typing import Any, NamedTuple

import numpy as np
from mmengine.logging import print_log
from mmengine.registry import DATASETS, TRANSFORMS
from PIL import Image
from torch.utils.data import Dataset

from gcisg_core.config import require
from gcisg_core.files import is_file
from gcisg_core.problems import DataError, Problem
from gcisg_suite.coco.values import shown
from gcisg_suite.folders import is_hidden, left_out, list_files
from gcisg_suite.images import SUFFIXES, read_image
from gcisg_suite.progress import shown_if_slow
from gcisg_suite.text import read_lines

VISDA17_CLASSES = (
    "aeroplane", "bicycle", "bus", "car", "horse", "knife", "motorcycle", "person", "plant", "skateboard", "train",
    "truck",
)  # fmt: skip
IMAGE_LIST = "image_list.txt"
NO_LABEL = -1
LABEL = re.compile("[0-9]{1,5}")  # a longer number would mean that many classes
ABSENT = "Add images of it, or leave it out of the classes: `classes` in a config, --classes in a command"
MOST_SKIPPED = 1000  # in a row; mmengine's data sets give up after as many


def split_line(line: str) -> tuple[str, str]:
    """Name and label in a line of an image list; backslashes in names become "/"."""
    name, _, label = line.strip().replace("\t", " ").rpartition(" ")
    return name.strip().replace("\\", "/"), label


class _Line(NamedTuple):
    """One line of an image list."""

    where: str
    name: str
    label: int

    @property
    def folder(self) -> str:
        return self.name.partition("/")[0]


@DATASETS.register_module(name=["ClassFolderDataset", "VisDA17Dataset"])
class ClassFolderDataset(Dataset):
    """Images in one folder for each class; ``image_list.txt`` (lines ``relative/path label``) is read if there is one.

    Args:
        root: The folder of one part (``visda17/train``).
        pipeline: Config of the transform of an image.
        classes: Their names, in the order of the labels. None: the names of the folders, in the order of the list's
            labels, or sorted.
        download_hint: What to do if the folder does not exist.
        absent_classes: `"error"` refuses a class without an image. `"name"`, for evaluation, logs a warning that
            names it; the metrics are then over the other classes.
        on_bad_sample: `"error"` stops at an image that is missing or cannot be read, and names it. `"skip"`, only for
            training, logs a warning that names it and continues without it.

    Items are dictionaries: ``inputs`` (what the pipeline returns), ``label``, ``index``.

    Raises:
        DataError: the folder, the list, a line, a class or a file is not as expected. Raised at construction, except
            for unreadable images, which are named when they are read.
    """

    def __init__(
        self,
        root: str,
        pipeline: dict[str, Any],
        classes: Sequence[str] | None = VISDA17_CLASSES,
        download_hint: str = "Download VisDA-17 (classification), unpack it and give this folder as the data root",
        on_bad_sample: str = "error",
        absent_classes: str = "error",
    ) -> None:
        self.root = Path(root)
        require(absent_classes in ("error", "name"), "absent_classes", absent_classes, "'error' or 'name'")
        self.absent_classes = absent_classes
        require(on_bad_sample in ("error", "skip"), "on_bad_sample", on_bad_sample, "'error' or 'skip'")
        self.on_bad_sample = on_bad_sample
        self.left_out: list[Problem] = []
        self.absent: list[str] = []
        if not self.root.is_dir():
            raise DataError(self.root, "no such folder", download_hint)
        listed = self.root / IMAGE_LIST
        if listed.is_file():
            lines = list(self._read_list(listed))
            self.classes = tuple(classes) if classes is not None else self._classes_of(lines)
            found = shown_if_slow(lines, f"checking the images of {listed}")
            self.samples = [(line.name, line.label) for line in found if self._checked(line)]
            self._log_absent(listed)
        else:
            folders = sorted(p.name for p in self.root.iterdir() if p.is_dir() and not is_hidden(p.name))
            self.classes = tuple(classes) if classes is not None else tuple(folders)
            self.samples = list(self._read_folders(folders))
        self.metainfo = {"classes": self.classes}
        self._check_classes()
        self.pipeline = TRANSFORMS.build(pipeline)

    def _read_list(self, path: Path) -> Iterator[_Line]:
        for number, line in enumerate(read_lines(path), start=1):
            if not line.strip():
                continue
            name, label = split_line(line)
            where = f"{path} line {number}"
            if name and LABEL.fullmatch(label):
                yield _Line(where, name, int(label))
            else:
                what = f"{shown(line)} is not of the form 'relative/path label', with a label of up to five digits"
                self._report(DataError(where, what, "Correct the line"))

    def _report(self, error: DataError) -> None:
        """Handle a fault in the folder; the audit overrides it to collect all faults."""
        raise error

    def _log_absent(self, listed: Path) -> None:
        if self.absent:
            text = f"Skipped: {len(self.absent)} images of {listed} do not exist, such as {self.absent[0]}"
            self._log(text, logging.WARNING)

    @staticmethod
    def _classes_of(lines: Sequence[_Line]) -> tuple[str, ...]:
        """Label -> name of its folder; a label without an image has no name."""
        names = {line.label: line.folder for line in reversed(lines)}
        return tuple(names.get(label, f"label {label}") for label in range(max(names, default=-1) + 1))

    def _checked(self, line: _Line) -> bool:
        error = None
        if line.label >= len(self.classes):
            expected = f"expected 0 to {len(self.classes) - 1}"
            error = DataError(line.where, f"label {line.label} is out of range, {expected}", "Correct the line")
        elif line.folder in self.classes and self.classes.index(line.folder) != line.label:
            error = DataError(
                line.where,
                f"label {line.label} is {self.classes[line.label]!r} but the folder is {line.folder!r}",
                "Correct the line, or give the `classes` in the order of the labels",
            )
        elif not is_file(self.root / line.name):
            if self.on_bad_sample == "skip":
                self.absent.append(line.name)
                return False
            error = DataError(
                line.where, f"the file {shown(line.name)} does not exist", "Restore the file or remove the line"
            )
        if error:
            self._report(error)
        return not error

    def _read_folders(self, folders: list[str]) -> Iterator[tuple[str, int]]:
        known = {name: label for label, name in enumerate(self.classes)}
        names, hidden = list_files(self.root)
        filled = {name.partition("/")[0] for name in names if PurePath(name).suffix.lower() in SUFFIXES}
        for folder in (name for name in folders if name not in known and name in filled):
            expected = f"Expected folders: {', '.join(self.classes)}"
            self._report(DataError(self.root / folder, "no class of that name", expected))
        kinds: dict[str, list[str]] = {"hidden by their name": hidden, "without a class's folder": [], "no image": []}
        for name in names:
            folder, inner, _ = name.partition("/")
            if PurePath(name).suffix.lower() not in SUFFIXES:
                kinds["no image"].append(name)
            elif not inner:
                kinds["without a class's folder"].append(name)
            elif folder in known:
                yield name, known[folder]
        self.left_out = left_out(self.root, kinds)
        for note in self.left_out:
            self._log(str(note))

    def _check_classes(self) -> None:
        if not self.samples:
            folders = f"the folders {', '.join(self.classes)}" if self.classes else "a folder of images for each class"
            expected = f"Expected {IMAGE_LIST} or {folders}"
            self._report(DataError(self.root, "no image found", expected))
        counts = Counter(label for _, label in self.samples)
        for label, name in enumerate(self.classes if self.samples else ()):
            if not counts[label]:
                error = DataError(self.root / name, f"class {name!r} (label {label}) has no image", ABSENT)
                self._report_absent(error)

    def _report_absent(self, error: DataError) -> None:
        if self.absent_classes == "error":
            raise error
        self._log(f"{error.problem.file}: {error.problem.what}", logging.WARNING)

    def _log(self, text: str, level: int = logging.INFO) -> None:
        """Log a warning; the audit overrides it."""
        print_log(text, logger="current", level=level)

    def __len__(self) -> int:
        return len(self.samples)

    def load(self, index: int) -> Image.Image:
        """The image itself, RGB, by :func:`gcisg_suite.images.read_image`."""
        return Image.fromarray(read_image(self.root / self.samples[index][0]))

    def __getitem__(self, index: int) -> dict[str, Any]:
        for _ in range(MOST_SKIPPED if self.on_bad_sample == "skip" else 0):
            try:
                return self._item(index)
            except DataError as error:
                print_log(f"Skipped: {error}", logger="current", level=logging.WARNING)
                index = int(np.random.randint(len(self)))
        return self._item(index)

    def _item(self, index: int) -> dict[str, Any]:
        return {"inputs": self.pipeline(self.load(index)), "label": self.samples[index][1], "index": index}


VisDA17Dataset = ClassFolderDataset  # its earlier name


@DATASETS.register_module()
class UnlabelledImages(ClassFolderDataset):
    """All images below a folder, in subfolders of any name. Each has the label -1, which means none.

    Args:
        root: The folder.
        pipeline: Config of the transform of an image.
        classes: The classifier's classes.

    Raises:
        DataError: there is no image.
    """

    def __init__(self, root: str, pipeline: dict[str, Any], classes: Any = None, **_: Any) -> None:
        self.root, self.classes = Path(root), tuple(classes or VISDA17_CLASSES)
        images = (name for name in list_files(self.root).files if PurePath(name).suffix.lower() in SUFFIXES)
        self.samples = [(name, NO_LABEL) for name in images]
        if not self.samples:
            raise DataError(root, "no image found", "Name a folder with images of the target")
        self.on_bad_sample = "error"
        self.metainfo = {"classes": self.classes}
        self.pipeline = TRANSFORMS.build(pipeline)
