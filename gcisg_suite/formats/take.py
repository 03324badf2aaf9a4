"""Prepares the folders given to `gcisg new-project` for training, as a COCO file or a folder of label PNGs.

Data that the task can read stays in place. Everything else is converted once into `<output>/data`. Nothing is written
into the user's folders.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path, PurePath
from typing import NamedTuple, cast

from gcisg_core.problems import DataError
from gcisg_suite.coco.load import normalise
from gcisg_suite.folders import list_files
from gcisg_suite.formats import coco
from gcisg_suite.formats.forms import BACKGROUND, BoxImage, Data, image_files
from gcisg_suite.formats.output import converting
from gcisg_suite.formats.table import FORMATS, NATIVE, UNLABELLED, Format, Reader, find_format
from gcisg_suite.formats.write import COCO, LIST, some, write_coco, write_labels
from gcisg_suite.images import SUFFIXES
from gcisg_suite.new_project import MINE, Answers
from gcisg_suite.progress import named

NO_LABELS = (
    "has no labels, so there is no score on it. Prediction, match rate, CKA, energy and `gcisg select` still work"
)
NOTHING = "Name the folder that holds the labels, or another format (--format {name}=NAME)"


class Place(NamedTuple):
    """The location of a folder's data.

    Attributes:
        images: The folder of the images.
        labels: The COCO file, or the folder of the label PNGs.
        classes: The names in the order of the labels; empty if the labels do not contain names.
        listed: File with the names of the images to use, without suffix; None to use all images.
        suffixes: The suffixes of the images, if `listed` is given.
        labelled: Whether there are labels.
        fixed: Whether the format defines the classes, so that they are kept even if they do not occur.
    """

    images: Path
    labels: Path
    classes: list[str]
    listed: Path | None = None
    suffixes: tuple[str, ...] = ()
    labelled: bool = True
    fixed: bool = False


def _unlabelled(name: str, folder: Path) -> Data:
    if name == MINE:
        remedy = "Training needs labels: name the folder that holds them, or its format (--format synthetic=NAME)"
        raise DataError(folder, "has images, but no labels in a known format", remedy)
    inner = folder / "images"
    data = Data(inner if inner.is_dir() else folder, [], [])
    data.images = [BoxImage(path, None, []) for path in image_files(data.root)]
    if not data.images:
        raise DataError(folder, "holds no image", "Name a folder of images")
    print(f"{name}: {folder} {NO_LABELS}")
    return data


def take_boxes(answers: Answers, asked: list[str] | None) -> dict[str, Place]:
    """Prepare both folders for detection.

    Args:
        answers: The arguments of the command.
        asked: The requested classes; by default those of the synthetic boxes.

    Returns:
        The location of each folder's data, by role.

    Raises:
        DataError, ValueError: a folder is in no known format, or a file in it is invalid.
    """
    table = {name: row for name, row in FORMATS.items() if row.boxes}
    files = {name: _given(folder, answers.labels or COCO) for name, folder in answers.folders.items()}
    if answers.labels and not any(path.is_file() for path in files.values()):
        what = f"{answers.labels}: no such file in {answers.synthetic} or {answers.real}"
        raise ValueError(f"{what}. Give the JSON file as a path inside one of the folders (--annotations, --labels)")
    kinds = {
        name: find_format(folder, table, files[name].is_file(), answers.formats.get(name), name)
        for name, folder in answers.folders.items()
    }
    _check_options(answers, {name: NATIVE if kind == "coco" else kind for name, kind in kinds.items()})
    places: dict[str, Place] = {}
    classes = asked
    for name, folder in answers.folders.items():
        kind, file, data = kinds[name], files[name], None
        if kind in (NATIVE, "coco"):
            is_named = kind == NATIVE or (answers.labels is not None and file.is_file())
            file = file if is_named else coco.find_file(folder, name)
            images = _image_folder(answers, folder, file, kind)
            if (kind == NATIVE and asked is None) or _fits(file, images, classes):
                places[name] = Place(images, file, classes or [])
                if kind != NATIVE:
                    print(f"{name}: {folder} read as {kind}: {file}, images in {images}")
                classes = classes or _names(file, images)
                continue
            data = coco.boxes_of(file, images)
        elif kind != UNLABELLED:
            with named(name):
                data = cast("Reader", table[kind].boxes)(folder, name)
        data = data or _unlabelled(name, folder)
        _check_classes(data, classes)
        if not classes:
            occurring = {box.name for image in data.images for box in image.boxes if not box.crowd}
            classes = [item for item in data.classes if item in occurring]
            data.leave("classes without a box", "", len(data.classes) - len(classes))
        if not classes or not data.images or (kind != UNLABELLED and not any(image.boxes for image in data.images)):
            what = f"was read as {kind}: {len(data.images)} images without any box{data.described()}"
            raise DataError(folder, what, NOTHING.format(name=name))
        what, goal = f"{name}: {folder} read as {kind}", answers.output / "data" / name
        with named(name), converting(goal, answers.force) as partial:
            root = write_coco(data, classes, partial, goal, what)
        places[name] = Place(root, goal / COCO, classes, labelled=kind != UNLABELLED)
    return places


def _given(folder: Path, name: str) -> Path:
    """A file or folder, given by its name in `folder` or by a path that leads into `folder`."""
    path = Path(name)
    inside = path.exists() and path.resolve().is_relative_to(folder.resolve())
    return path if inside and not (folder / name).exists() else folder / name


def _image_folder(answers: Answers, folder: Path, file: Path, kind: str) -> Path:
    """The folder that the file names in a COCO file are relative to. Raises `DataError`."""
    if "images" not in answers.options:
        try:
            return coco.image_root(folder, file)
        except DataError:
            if kind != NATIVE:
                raise  # for native data, the audit reports each missing image
    return folder / answers.images


def _check_options(answers: Answers, kinds: Mapping[str, str]) -> None:
    """Refuse options for labels that are read in place if a folder is converted, where they would have no effect.

    Raises:
        ValueError: names the option.
    """
    converted = {name: kind for name, kind in kinds.items() if kind not in (NATIVE, UNLABELLED)}
    for option in sorted(answers.options.keys() - {"classes"}):
        # A converted folder has names of classes, so their number is of no use. Other options need one native folder.
        if converted and (option == "num_classes" or NATIVE not in kinds.values()):
            name, kind = next(iter(converted.items()))
            what = f"--{option.replace('_', '-')} applies to labels that are read as they are"
            raise ValueError(
                f"{what}, but {answers.folders[name]} is read as {kind}. Leave the option out, or give another --format"
            )


def _check_classes(data: Data, asked: list[str] | None) -> None:
    """Raise `ValueError` if a folder has classes, but none of the requested ones."""
    common = {*(asked or ())} & {*data.classes}
    if asked and data.classes and not common - {BACKGROUND}:
        what = f"the classes are {some(asked)}, but those of {data.root} are {some(data.classes)}"
        raise ValueError(f"{what}. Give names that both folders have (--classes A B ...), or rename the classes of one")


def _names(file: Path, root: Path) -> list[str] | None:
    try:
        return normalise(file, root).classes
    except DataError:
        return None  # the audit reports the reason


def _fits(file: Path, root: Path, classes: list[str] | None) -> bool:
    """Whether a COCO file can be used unchanged: each category is requested and has a box."""
    data = normalise(file, root)
    ids = {item["category_id"] for item in data.annotations}
    used = {item["name"] for item in data.categories if item["id"] in ids}
    return used == {*data.classes} == {*(classes or data.classes)}


def take_masks(
    answers: Answers,
    classes: list[str] | None,
    need: Callable[[], list[str]],
    table: Mapping[str, Format],
    special: Mapping[str, Format],
) -> dict[str, Place]:
    """Prepare both folders for segmentation.

    Args:
        answers: The arguments of the command.
        classes: The requested classes; by default those of the synthetic labels.
        need: Returns the names of the classes if they are not given and a folder has only label images.
        table: The formats.
        special: Those formats that may also have folders named `images` and `labels`.

    Returns:
        The location of each folder's data, by role.

    Raises:
        DataError, ValueError: as in :func:`take_boxes`.
    """
    kinds, files = dict[str, str](), dict[str, Path]()
    for name, folder in answers.folders.items():
        given = answers.formats.get(name)
        native = bool(answers.labels) and _given(folder, str(answers.labels)).is_dir()
        native = native or (not given and _is_native(folder, folder / answers.images, special))
        kinds[name] = find_format(folder, table, native, given, name)
        if kinds[name] == "coco" and answers.labels and _given(folder, answers.labels).is_file():
            files[name] = _given(folder, answers.labels)
    _check_options(answers, {name: NATIVE if name in files else kind for name, kind in kinds.items()})
    if classes is None and NATIVE in kinds.values():
        classes = need()
    places: dict[str, Place] = {}
    for name, folder in answers.folders.items():
        kind = kinds[name]
        if kind == NATIVE:
            places[name] = Place(folder / answers.images, _given(folder, answers.labels or "labels"), classes or [])
            continue
        if name in files:
            data = coco.masks_of(files[name], _image_folder(answers, folder, files[name], kind))
        else:
            with named(name):
                reader = None if kind == UNLABELLED else cast("Reader", table[kind].masks)
                data = reader(folder, name) if reader else _unlabelled(name, folder)
        _check_classes(data, classes)
        classes = classes or data.classes
        if classes == [BACKGROUND] or not data.images:
            what = f"was read as {kind}: {len(data.images)} images without any object"
            raise DataError(folder, what, NOTHING.format(name=name))
        what, goal = f"{name}: {folder} read as {kind}", answers.output / "data" / name
        with named(name), converting(goal, answers.force) as partial:
            used = write_labels(data, classes, partial, kind != UNLABELLED, answers.workers)
        print(f"{what}: {len(used)} images, classes {some(classes)} -> {goal}{data.described()}")
        root = goal / "images" if any(image.pixels for image in used) else data.root
        suffixes = tuple(sorted({image.path.suffix for image in used}))
        listed = goal / LIST
        places[name] = Place(root, goal / "labels", classes, listed, suffixes, kind != UNLABELLED, data.fixed)
    return places


def _is_native(folder: Path, images: Path, special: Mapping[str, Format]) -> bool:
    """Whether there are images and label images that training reads without conversion."""
    labels = folder / "labels"
    if not (images.is_dir() and labels.is_dir()):
        return False
    if any(row.recognises(folder) for row in special.values()):
        return False
    return any(PurePath(name).suffix.lower() in SUFFIXES for name in list_files(labels).files)
