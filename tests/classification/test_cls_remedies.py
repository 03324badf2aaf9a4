"""What messages about class folders and lists tell people to do, done: each is provoked and followed."""

import pytest

from gcisg_cls.audit import audit_folders, audit_visda17
from gcisg_cls.datasets import VISDA17_CLASSES, ClassFolderDataset, UnlabelledImages
from gcisg_core.integrations.mmengine import load_config
from gcisg_core.problems import DataError
from tests.classification.test_audit import picture, visda  # noqa: F401
from tests.documents import ROOT

VIEW = {"type": "EvalView", "size": 8}


def replaced(old, new):
    def change(train):
        listed = train / "image_list.txt"
        text = listed.read_text()
        assert old in text
        listed.write_text(text.replace(old, new))

    return change


def renamed(old, new):
    return lambda train: (train / old).rename(train / new)


def unlisted(train):
    (train / "image_list.txt").unlink()


# What the message says to do, how the folder is spoilt, and how the message is followed.
FOLDERS = [
    ("Correct the line", replaced("knife/0.png 5", "knife/0.png"), replaced("knife/0.png\n", "knife/0.png 5\n")),
    ("Correct the line", replaced("plant/0.png 8", "plant/0.png 12"), replaced("plant/0.png 12", "plant/0.png 8")),
    ("Correct the line, or give the `classes`", replaced("car/0.png 3", "car/0.png 4"),
        replaced("car/0.png 4", "car/0.png 3")),
    ("Restore the file or remove the line", renamed("car/0.png", "away.png"), renamed("away.png", "car/0.png")),
    ("Restore the file or remove the line", lambda train: (train / "car/0.png").unlink(),
        replaced("car/0.png 3\n", "")),
    ("Remove a line", replaced("car/0.png 3\n", "car/0.png 3\n" * 2), replaced("car/0.png 3\n" * 2, "car/0.png 3\n")),
    ("Add their lines, or remove the files; training ignores them", lambda train: picture(train / "car/7.png", 7),
        replaced("car/0.png 3\n", "car/0.png 3\ncar/7.png 3\n")),
    ("Add their lines, or remove the files; training ignores them", lambda train: picture(train / "car/7.png", 7),
        lambda train: (train / "car/7.png").unlink()),
]  # fmt: skip


@pytest.mark.remedy(*FOLDERS)
@pytest.mark.parametrize(("words", "spoil", "follow"), FOLDERS)
def test_lists_of_images(visda, words, spoil, follow):  # noqa: F811
    spoil(visda / "train")
    assert words in {problem.remedy[: len(words)] for problem in audit_visda17(visda).problems}
    follow(visda / "train")
    assert audit_visda17(visda).problems == []


@pytest.mark.remedy("or give the `classes` in the order of the labels")
def test_labels_in_another_order(visda):  # noqa: F811
    train = visda / "train"
    replaced("knife/0.png 5", "knife/0.png 8")(train)
    replaced("knife/1.png 5", "knife/1.png 8")(train)
    replaced("plant/0.png 8", "plant/0.png 5")(train)
    replaced("plant/1.png 8", "plant/1.png 5")(train)
    with pytest.raises(DataError, match="or give the `classes` in the order of the labels"):
        ClassFolderDataset(str(train), VIEW)
    order = list(VISDA17_CLASSES)
    order[5], order[8] = order[8], order[5]
    assert len(ClassFolderDataset(str(train), VIEW, order)) == 24


@pytest.mark.remedy(
    "Point the data root at the folder that holds train and validation",
    "Download VisDA-17 (classification), unpack it and give this folder as the data root",
    "Give the folder that holds one folder of images for each class",
)
def test_the_folder_above_and_none(visda):  # noqa: F811
    for folder in ("train/car", "train"):  # a class is called train, too
        (problem,) = audit_visda17(visda / folder).problems
        assert problem.remedy == "Point the data root at the folder that holds train and validation"
    assert audit_visda17(visda).problems == []
    with pytest.raises(DataError, match="Download VisDA-17 .classification., unpack it and give this folder"):
        ClassFolderDataset(str(visda / "nowhere/train"), VIEW)
    hint = load_config(str(ROOT / "projects/classification/own_data.py"), []).train_dataloader.dataset.dataset
    with pytest.raises(
        DataError, match="no such folder. Give the folder that holds one folder of images for each class"
    ):
        ClassFolderDataset(str(visda / "nowhere/train"), VIEW, download_hint=hint.download_hint)
    visda.joinpath("nowhere").symlink_to(visda)  # unpacked there
    assert len(ClassFolderDataset(str(visda / "nowhere/train"), VIEW)) == 24


@pytest.mark.remedy(
    "Expected folders: {}", "Expected {} or {}", "Name one of them instead: {}",
    "Give two or more class folders; is this one of them itself?",
)  # fmt: skip
def test_folders_of_classes(tmp_path):
    (problem,) = audit_folders(tmp_path).problems
    assert problem.remedy == "Expected image_list.txt or a folder of images for each class"
    for number, name in enumerate(("train/cat", "train/dog")):
        picture(tmp_path / name / "0.png", number)
    first, second = audit_folders(tmp_path).problems
    assert first.remedy == "Give two or more class folders; is this one of them itself?"
    assert second.remedy == f"Name one of them instead: {tmp_path / 'train'}"
    assert audit_folders(tmp_path / "train").problems == []
    problems = audit_folders(tmp_path / "train", classes=["cat", "Dog"]).problems
    assert problems[0].remedy == "Expected folders: cat, Dog"
    (tmp_path / "train/dog").rename(tmp_path / "train/Dog")
    assert audit_folders(tmp_path / "train", classes=["cat", "Dog"]).problems == []


@pytest.mark.remedy("Name a folder with images of the target")
def test_a_target_without_images(tmp_path):
    (tmp_path / "empty").mkdir()
    with pytest.raises(DataError, match="Name a folder with images of the target"):
        UnlabelledImages(str(tmp_path / "empty"), VIEW)
    picture(tmp_path / "target/0.png", 0)
    assert len(UnlabelledImages(str(tmp_path / "target"), VIEW)) == 1
