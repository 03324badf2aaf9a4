"""What messages about label images tell people to do, done: each is provoked and followed, and the audit is content."""

import shutil

import numpy as np
import pytest
from PIL import Image

from gcisg_core.problems import DataError
from gcisg_seg.audit import audit_cityscapes, audit_gtav, audit_image_labels
from gcisg_seg.checks import read_label
from gcisg_seg.datasets import UnlabelledImageDataset
from tests.formats.streets import synthia
from tests.remedies import says
from tests.segmentation.conftest import SIZE, _save, truncate
from tests.segmentation.test_own_labels import COLOURS, DRAWN, NAMES, coloured, indexed

OTHER = [(1, 2, 3), *COLOURS[1:]]
MORE = {"classes": (*NAMES, "sky"), "colours": [*COLOURS, (1, 2, 3)]}
NUMBERS = {"colours": None}
VALUES = DRAWN * 100
SIXTEEN = Image.fromarray(DRAWN.astype(np.uint16))
# What the message says to do, one of the labels, settings, and what is another label or setting when it was done.
LABELS = [
    ("Add the colours to the palette", Image.fromarray(np.array(OTHER, np.uint8)[DRAWN]), {}, MORE),
    ("A lossy format such as JPEG changes the colours of a label", Image.fromarray(
        np.array(OTHER, np.uint8)[DRAWN]), {}, coloured(DRAWN)),
    ("Add them to the palette of the classes. {}", indexed(DRAWN, OTHER, (0, 1, 2)), {}, MORE),
    ("Leave the colours out of the classes to have such files read by index", indexed(DRAWN, OTHER, (0, 1, 2)), {},
        NUMBERS),
    ("Give the colours of the classes as the palette", coloured(DRAWN), NUMBERS, {"colours": COLOURS}),
    ("Expected {}, the number of the class, or 255 for none", Image.fromarray(VALUES), NUMBERS, Image.fromarray(DRAWN)),
    ("label_values names other values", [Image.fromarray(VALUES)] * 3, NUMBERS, {"label_values": (0, 100, 200)}),
    ("Convert the labels", SIXTEEN, NUMBERS, Image.fromarray(DRAWN)),
    ("Correct the list of classes or the labels", None, {**NUMBERS, "classes": (*NAMES, "sky")}, {"classes": NAMES}),
    ("Correct the list of classes or the labels", None, {**NUMBERS, "classes": (*NAMES, "sky")},
        Image.fromarray((DRAWN.astype(int) + 1).astype(np.uint8))),
]  # fmt: skip


@pytest.fixture
def folder(tmp_path):
    """Three pairs; the labels have the numbers of the classes."""
    for number in range(3):
        _save(tmp_path / f"images/{number}.png", np.random.default_rng(number).integers(0, 256, (30, 48, 3), np.uint8))
        _save(tmp_path / f"labels/{number}.png", DRAWN)
    return tmp_path


def audit(folder, classes=NAMES, colours=COLOURS, **more):
    return audit_image_labels(folder / "images", folder / "labels", classes, colours, **more)


@pytest.mark.remedy(*LABELS)
@pytest.mark.parametrize(("words", "label", "settings", "done"), LABELS)
def test_labels_of_your_own(folder, words, label, settings, done):
    for number, image in enumerate(label if isinstance(label, list) else [label] if label else []):
        image.save(folder / f"labels/{number}.png")
    found = audit(folder, **settings).problems
    assert found
    assert all(says(problem.remedy, words) for problem in found)
    if isinstance(done, dict):
        settings = {**settings, **done}
    else:
        done.save(folder / "labels/0.png")
    assert audit(folder, **settings).problems == []


@pytest.mark.remedy("Export the labels as PNG")
def test_labels_as_jpeg(folder):
    path = folder / "labels/0.png"
    Image.open(path).save(path, format="JPEG")
    assert [problem.remedy for problem in audit(folder, colours=None).problems] == ["Export the labels as PNG"]
    Image.fromarray(DRAWN).save(path, format="PNG")
    assert audit(folder, colours=None).problems == []


@pytest.mark.remedy("The table shows what was found", "ignore_index says so")
@pytest.mark.remedy("The classes are those of the format; nothing to do")
def test_notes_that_ask_for_nothing(folder):
    result = audit(folder, colours=None)
    assert ([note.remedy for note in result.notes], result.problems) == (["The table shows what was found"], [])
    assert {row["class"]: row["index"] for row in result.labels} == {"road": "0", "car": "1", "person": "2"}
    ignored = audit(folder, colours=None, ignore_index=2)
    assert "ignore_index says so" in [note.remedy for note in ignored.notes]
    assert ignored.problems == []
    fixed = audit(folder, (*NAMES, "sky"), None, fixed=True)
    assert "The classes are those of the format; nothing to do" in [note.remedy for note in fixed.notes]
    assert fixed.problems == []


def pair(root):
    for part in ("images", "labels"):
        (root / part / "00002.png").unlink()


def again(root):
    _save(root / "labels/00002.png", np.random.default_rng(9).integers(0, 34, SIZE, np.uint8), palette=True)


def label(values):
    return lambda root: _save(root / "labels/00002.png", values)


# What the message says to do, how a folder of GTAV is spoilt, and how the message is followed.
FOLDERS = [
    ("Use the label file, not its colour rendering", label(np.zeros((*SIZE, 3), np.uint8)), again),
    ("Download the file again, or remove the pair", lambda root: truncate(root / "labels/00002.png"), again),
    ("Download the file again, or remove the pair", lambda root: truncate(root / "labels/00002.png"), pair),
    ("Check that these are the official label files", label(np.full(SIZE, 77, np.uint8)), again),
    ("Check that the label belongs to this data set; if so, remove the pair", label(np.zeros(SIZE, np.uint8)), pair),
    ("gcisg_seg/layouts.py: Download it again, or remove its label", lambda root: (root / "images/00002.png").unlink(),
        lambda root: (root / "labels/00002.png").unlink()),
    ("Download the label again, or remove the image", lambda root: (root / "labels/00002.png").unlink(), again),
    ("Download the label again, or remove the image", lambda root: (root / "labels/00002.png").unlink(),
        lambda root: (root / "images/00002.png").unlink()),
]  # fmt: skip


@pytest.mark.remedy(*FOLDERS)
@pytest.mark.parametrize(("words", "spoil", "follow"), FOLDERS)
def test_official_downloads(gtav, words, spoil, follow):
    spoil(gtav)
    (problem,) = audit_gtav(gtav).problems
    assert words.rpartition(".py: ")[2] in problem.remedy
    follow(gtav)
    assert audit_gtav(gtav).problems == []


@pytest.mark.remedy("Point the data root at the folder that holds {} and {}")
def test_the_folder_above_or_below(gtav):
    for wrong in (gtav.parent, gtav / "images"):
        (problem,) = audit_gtav(wrong).problems
        assert problem.remedy == "Point the data root at the folder that holds images and labels"
    assert audit_gtav(gtav).problems == []


@pytest.mark.remedy("Are these the label files of this data set, unconverted?")
def test_labels_of_one_class(cityscapes):
    kept = {path: path.read_bytes() for path in (cityscapes / "gtFine/train").rglob("*.png")}
    for path in kept:
        _save(path, np.full(SIZE, 7, np.uint8))
    (problem,) = audit_cityscapes(cityscapes).problems
    assert problem.remedy == "Are these the label files of this data set, unconverted?"
    for path, content in kept.items():
        path.write_bytes(content)
    assert audit_cityscapes(cityscapes).problems == []


@pytest.mark.remedy("Use the original label file, not a converted one")
def test_a_label_whose_class_lies_in_the_red_channel(tmp_path):
    synthia(tmp_path)
    path = tmp_path / "GT/LABELS/0000000.png"
    kept = path.read_bytes()
    _save(path, DRAWN)
    with pytest.raises(DataError, match="Use the original label file, not a converted one"):
        read_label(str(path), "synthia_ids")
    path.write_bytes(kept)
    assert set(np.unique(read_label(str(path), "synthia_ids"))) == {3, 8, 10}


@pytest.mark.remedy("datasets/own.py: Name the folder of the images")
def test_images_without_labels_in_another_folder(folder):
    shutil.move(folder / "images", folder / "photos")
    (folder / "images").mkdir()
    given = {"metainfo": {"classes": NAMES}, "serialize_data": False}
    with pytest.raises(DataError, match="0 images: nothing here is named .* Name the folder of the images"):
        UnlabelledImageDataset(data_root=str(folder), **given)
    assert len(UnlabelledImageDataset(data_root=str(folder), data_prefix={"img_path": "photos"}, **given)) == 3
