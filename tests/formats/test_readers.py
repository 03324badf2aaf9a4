"""What the readers of formats tell people to do, done: each message is provoked and followed; then all is read."""

import shutil
from pathlib import Path

import numpy as np
import pytest

from gcisg_core.problems import DataError
from gcisg_seg.formats import FORMATS as MASKS
from gcisg_suite.formats.table import FORMATS as BOXES
from gcisg_suite.formats.take import _unlabelled
from tests.formats import folders, streets
from tests.formats.test_bad_files import BDD, KITTI, SOLO, TRAIN, VOC
from tests.remedies import says

ROOT = Path("syn")


def edited(name, right, wrong):
    """A file with a wrong text in it, and the file as it was."""

    def change(old, new):
        path = ROOT / name
        content = path.read_bytes()
        assert old.encode() in content
        path.write_bytes(content.replace(old.encode(), new.encode(), 1))

    return (lambda: change(right, wrong)), (lambda: change(wrong, right))


def written(name, content=b"x"):
    """A file with another content, and the one that it had; or none, if it was not there."""
    kept = []

    def spoil():
        kept[:] = [(ROOT / name).read_bytes() if (ROOT / name).exists() else None]
        (ROOT / name).write_bytes(content)

    return spoil, lambda: (ROOT / name).write_bytes(kept[0]) if kept[0] else (ROOT / name).unlink()


def gone(pattern):
    """Files or folders that are not there, and are there again."""
    kept = []

    def spoil():
        kept[:] = sorted(ROOT.glob(pattern))
        assert kept
        for number, path in enumerate(kept):
            shutil.move(path, f"{number} away")

    def follow():
        for number, path in enumerate(kept):
            shutil.move(f"{number} away", path)

    return spoil, follow


def removed(pattern, *lines):
    """Removes files or folders, and a line of a list that names them."""

    def follow():
        for path in ROOT.glob(pattern):
            shutil.rmtree(path) if path.is_dir() else path.unlink()
        for name, line in lines:
            (ROOT / name).write_text((ROOT / name).read_text().replace(f"{line}\n", ""))

    return follow


def no_labeler():
    for path in ROOT.rglob("*.frame_data.json"):
        path.write_text(path.read_text().replace("BoundingBox2DAnnotation", "DepthAnnotation"))


def again(maker):
    def follow():
        shutil.rmtree(ROOT)
        getattr(folders, maker)(ROOT)

    return follow


def in_colours():
    """CARLA's labels in colours, and the last of them as tags in one channel."""
    table = np.zeros((256, 4), np.uint8)
    table[[14, 12, 24]] = (0, 0, 142, 255), (220, 20, 60, 255), (128, 64, 128, 255)
    tags = folders.painted({"car": 14, "person": 12}, other=24)
    for path in sorted((ROOT / "semantic").iterdir()):
        folders.save(path, table[tags])
    folders.save(path, tags)


WORDS_OF_YOLO = (
    "Expected: class, centre x, centre y, width, height; or class and an outline x y x y x y ...; fractions of 0 to 1"
)
XML = "Correct the file, or remove it with its image and its line in ImageSets"
HOME = "VOCdevkit/VOC2012/"
LIST = (f"{HOME}ImageSets/Main/train.txt", "2012_0")
WRITER = "Write the frame again with BasicWriter, or remove its files"
SOLO_WORDS = "Write the sequence again, or remove its folder"
BOTH = "formats/forms.py: Restore it, or remove both"
FINE = "leftImg8bit/train/aachen/aachen_000000_000019_leftImg8bit.png"
LABEL = "gtFine/train/aachen/aachen_000000_000019_gtFine_instanceIds.png"
# What the message says to do, the format, what is read, who makes the folder, how it is spoilt, what was done.
ROWS = [
    ("Correct it, or the list of the classes", "yolo", "boxes", "yolo", *edited(TRAIN, "0 0.3", "5 0.3")),
    (WORDS_OF_YOLO, "yolo", "boxes", "yolo", *edited(TRAIN, "0 0.3", "0 1.3")),
    (WORDS_OF_YOLO, "yolo", "boxes", "yolo", *edited(TRAIN, "0 0.3", "0 2 0.3")),
    ("Make them agree", "yolo", "boxes", "yolo", *edited("data.yaml", "nc: 2", "nc: 3")),
    ("Correct `path` or the part's folder", "yolo", "boxes", "yolo",
        *edited("data.yaml", "../train/images", "elsewhere")),
    ("Export boxes or outlines", "yolo", "boxes", "yolo", *edited("data.yaml", "nc: 2", "kpt_shape: [17, 3]")),
    ("Write the classes in the order of the numbers", "yolo", "boxes", "yolo",
        *edited("data.yaml", "- car\n- person", "- car\n- car")),
    ("Correct `train` and `val` in data.yaml", "yolo", "boxes", "yolo",
        *edited("data.yaml", "../train/images", "train/labels")),
    (XML, "voc", "boxes", "voc", *edited(VOC, "<xmin>11", "<xmin>one")),
    (XML, "voc", "boxes", "voc", *edited(VOC, "<name>car", "<name>")),
    (XML, "voc", "boxes", "voc", written(VOC)[0], removed(f"{HOME}*/2012_0.*", LIST)),
    ("formats/voc.py: Restore it, or remove both", "voc", "boxes", "voc", *gone(f"{HOME}JPEGImages/2012_0.jpg")),
    ("formats/voc.py: Restore it, or remove both", "voc", "boxes", "voc",
        gone(f"{HOME}JPEGImages/2012_0.jpg")[0], removed(VOC, LIST)),
    ("Export the boxes; label images are for segmentation", "voc", "boxes", "voc_masks",
        lambda: None, lambda: folders.voc(ROOT)),
    ("Put the label images there; boxes alone are for detection", "voc", "masks", "voc",
        lambda: None, again("voc_masks")),
    ("Write the classes and their colours into {}, one line `name:R,G,B::` for each", "voc", "masks", "voc_masks",
        *edited("labelmap.txt", "255,96,55", "255,96")),
    ("Write the classes and their colours into {}, one line `name:R,G,B::` for each", "voc", "masks", "voc_masks",
        *edited("labelmap.txt", "person:255,96,55", "person:255,96,56")),
    ("Expected 15 or 16 values: type truncated occluded alpha left top right bottom", "kitti", "boxes", "kitti",
        *edited(KITTI, " -1.6\n", "\n")),
    (BOTH, "kitti", "boxes", "kitti", *gone("training/image_2/000001.png")),
    (BOTH, "kitti", "boxes", "kitti", gone("training/image_2/000001.png")[0], removed(KITTI)),
    ("Name it {}/<image>/<class>_<number>{}, or remove it", "objects", "boxes", "objects",
        lambda: shutil.copy(ROOT / "masks/scene_0/car_0.png", ROOT / "masks/other.png"),
        lambda: shutil.move(ROOT / "masks/other.png", ROOT / "masks/scene_0/car_1.png")),
    ("Name it {}/<image>/<class>_<number>{}, or remove it", "objects", "boxes", "objects",
        lambda: shutil.copy(ROOT / "masks/scene_0/car_0.png", ROOT / "masks/other.png"), removed("masks/other.png")),
    ("Export it again, or remove it", "objects", "boxes", "objects", *written("masks/scene_0/car_0.png")),
    ("Export it again, or remove it", "objects", "masks", "objects",
        written("masks/scene_0/car_0.png")[0], removed("masks/scene_0/car_0.png")),
    ("Export all masks of an image at its size", "objects", "masks", "objects",
        lambda: folders.save(ROOT / "masks/scene_0/car_0.png", folders.painted({"car": 255})[::2, ::2]),
        lambda: folders.save(ROOT / "masks/scene_0/car_0.png", folders.painted({"car": 255}))),
    (WRITER, "replicator", "boxes", "replicator", *edited("bounding_box_2d_tight_labels_0000.json", '"0": ', '"7": ')),
    (WRITER, "replicator", "boxes", "replicator", written("bounding_box_2d_tight_0001.npy")[0], removed("*_0001.*")),
    (WRITER, "replicator", "masks", "replicator", *edited("semantic_segmentation_labels_0000.json", "25, 2", "99, 2")),
    (SOLO_WORDS, "solo", "boxes", "solo", *edited(SOLO, '"labelName": "car"', '"labelName": 3')),
    (SOLO_WORDS, "solo", "masks", "solo", edited(SOLO, '"pixelValue": [0', '"pixelValue": ["a"')[0],
        removed("sequence.0")),
    ("Add the labeler to the Perception camera", "solo", "boxes", "solo", no_labeler, again("solo")),
    ("Unpack gtFine_trainvaltest.zip beside the images", "cityscapes", "boxes", "cityscapes", *gone("gtFine")),
    ("Unpack gtFine_trainvaltest.zip beside the images", "cityscapes", "boxes", "cityscapes",
        lambda: shutil.copy(ROOT / FINE, ROOT / LABEL),
        lambda: folders.save(ROOT / LABEL, folders.painted({"car": 26000}, other=7, dtype=np.uint16))),
    ("Unpack the images there", "cityscapes", "boxes", "cityscapes", *gone("leftImg8bit/*/*/*")),
    ("Unpack the images there", "bdd100k", "boxes", "bdd100k", *gone("images")),
    ("Take the label file of the official download", "bdd100k", "boxes", "bdd100k",
        *edited(BDD, '"x2": 49', '"x2": ""')),
    ("Render the frame again, or remove the file", "hdf5", "boxes", "hdf5", *written("0.hdf5")),
    ("Render the frame again, or remove the file", "hdf5", "boxes", "hdf5", written("0.hdf5")[0], removed("0.hdf5")),
    ("Save all in the same form", "carla", "masks", "carla", in_colours, again("carla")),
    ("Save the semantic camera's images as they are (image.save_to_disk)", "carla", "masks", "carla",
        *gone("semantic")),
]  # fmt: skip


def read(name, what, folder=ROOT):
    row = {**MASKS, **BOXES}[name]
    data = (row.boxes if what == "boxes" else row.masks)(folder, "synthetic")
    return data.images if what == "boxes" else [image.labels() for image in data.images]


@pytest.mark.remedy(*ROWS)
@pytest.mark.parametrize(("words", "name", "what", "maker", "spoil", "follow"), ROWS)
def test_what_a_reader_says_is_done(words, name, what, maker, spoil, follow, here):
    getattr(folders, maker, getattr(streets, maker, None))(ROOT)
    spoil()
    with pytest.raises(DataError) as raised:
        read(name, what)
    assert says(raised.value.problem.remedy, words.rpartition(".py: ")[2])
    follow()
    assert read(name, what) != []


@pytest.mark.remedy("Name the folder that holds image_2 and label_2", "Name a folder of images")
def test_the_folder_above_the_labels_and_one_of_images(here):
    folders.kitti(ROOT)
    with pytest.raises(DataError, match="Name the folder that holds image_2 and label_2"):
        read("kitti", "boxes", ROOT / "training/image_2")
    read("kitti", "boxes", ROOT / "training")
    with pytest.raises(DataError, match="holds no image. Name a folder of images"):
        _unlabelled("real", ROOT / "training/label_2")
    assert len(_unlabelled("real", ROOT / "training/image_2").images) == folders.FRAMES
