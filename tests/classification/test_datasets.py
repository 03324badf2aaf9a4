import shutil

import pytest
import torch
from PIL import Image

from gcisg_cls.datasets import ClassFolderDataset
from gcisg_core.problems import DataError
from gcisg_suite.analysis.pretraining import PretrainingImages
from tests.command import gcisg

from .conftest import CLASSES

EVAL = {"type": "EvalView", "size": 32}


def make(root, classes=CLASSES, pipeline=EVAL, **more):
    return ClassFolderDataset(str(root), pipeline, classes, **more)


def edit(root, old, new):
    path = root / "image_list.txt"
    path.write_text(path.read_text().replace(old, new))


def test_reads_the_list_in_its_order(images):
    dataset = make(images)
    assert len(dataset) == 12
    assert dataset.metainfo == {"classes": CLASSES}
    item = dataset[5]
    assert item["label"] == 1
    assert item["inputs"].shape == (3, 32, 32)


def test_reads_folders_where_there_is_no_list(images):
    listed = make(images)
    (images / "image_list.txt").unlink()
    assert make(images).samples == listed.samples


def test_takes_the_classes_from_the_list_or_the_folders(images):
    edit(images, " 0", " 7")
    edit(images, " 2", " 0")
    edit(images, " 7", " 2")
    assert make(images, classes=None).classes == ("bus", "boat", "bird")
    (images / "image_list.txt").unlink()
    assert make(images, classes=None).classes == CLASSES


def test_train_views_are_independent_draws(images):
    pipeline = {"type": "TrainViews", "size": 32, "views": 2, "randaugment": {"num_ops": 3, "magnitude": 20}}
    views = [make(images, pipeline=pipeline)[0]["inputs"] for _ in range(5)]
    assert all(len(pair) == 2 and pair[0].shape == (3, 32, 32) for pair in views)
    assert any(not torch.allclose(*pair) for pair in views)


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("bird/1.png 0", "bird/1.png 9", r"image_list.txt line 2: label 9 is out of range, expected 0 to 2"),
        ("bird/1.png 0", "bird/77.png 0", r"line 2: the file 'bird/77.png' does not exist"),
        ("bird/1.png 0", "bird/1.png", r"line 2: 'bird/1.png' is not of the form 'relative/path label'"),
        ("bird/1.png 0", "bird/1.png one", r"line 2: 'bird/1.png one' is not of the form"),
        ("bird/1.png 0", "bird/1.png 1", r"line 2: label 1 is 'boat' but the folder is 'bird'"),
    ],
)
def test_a_bad_line_is_named(images, old, new, message):
    edit(images, old, new)
    with pytest.raises(DataError, match=message):
        make(images)


def test_an_empty_class_is_named(images):
    for path in (images / "boat").iterdir():
        path.unlink()
    (images / "image_list.txt").unlink()
    with pytest.raises(DataError, match=r"boat: class 'boat' \(label 1\) has no image"):
        make(images)


def test_a_missing_folder_says_what_to_download(tmp_path):
    with pytest.raises(DataError, match="visda17/train: no such folder. Download VisDA-17"):
        make(tmp_path / "visda17/train")


def test_a_wrong_folder_never_gives_no_images(tmp_path):
    with pytest.raises(DataError, match="no image found. Expected image_list.txt or the folders bird, boat, bus"):
        make(tmp_path)
    (tmp_path / "leftImg8bit").mkdir()
    (tmp_path / "leftImg8bit/a.png").touch()
    with pytest.raises(DataError, match="leftImg8bit: no class of that name"):
        make(tmp_path)


def test_a_class_without_an_image_is_refused_in_training_and_named_in_evaluation(images, caplog):
    (images / "image_list.txt").unlink()
    shutil.rmtree(images / "bus")
    with pytest.raises(
        DataError, match=r"bus: class 'bus' \(label 2\) has no image. Add images of it, or leave it out"
    ):
        make(images)
    measured = make(images, absent_classes="name")
    assert measured.classes == ("bird", "boat", "bus")
    assert {label for _, label in measured.samples} == {0, 1}
    (images / "bus").mkdir()  # the remedy, with the empty folder still there
    assert make(images, classes=("bird", "boat")).classes == ("bird", "boat")
    with pytest.raises(ValueError, match="absent_classes"):
        make(images, absent_classes="skip")


def test_a_truncated_image_is_named(images):
    path = images / "bird" / "0.png"
    path.write_bytes(path.read_bytes()[:200])
    with pytest.raises(DataError, match=r"bird/0.png: not a readable image .* Copy or download it again"):
        make(images)[0]


class TestFoldersAsPeopleHaveThem:
    @pytest.fixture
    def folders(self, images):
        """Class folders without a list."""
        (images / "image_list.txt").unlink()
        return images

    def test_nested_folders_and_upper_case_suffixes_are_read(self, folders):
        (folders / "bird/town/day").mkdir(parents=True)
        (folders / "bird/0.png").rename(folders / "bird/town/day/0.PNG")
        assert ("bird/town/day/0.PNG", 0) in make(folders).samples
        assert len(make(folders)) == 12

    def test_hidden_folders_are_no_class_and_hidden_files_no_image(self, folders):
        before = make(folders, classes=None)
        for name in (".ipynb_checkpoints/0-checkpoint.png", "bird/._0.png", "__MACOSX/bird/1.png"):
            (folders / name).parent.mkdir(parents=True, exist_ok=True)
            (folders / name).write_bytes((folders / "bird/0.png").read_bytes())
        dataset = make(folders, classes=None)
        assert (dataset.classes, dataset.samples) == (before.classes, before.samples)

    def test_what_is_left_out_is_one_line(self, folders):
        assert make(folders).left_out == []
        for name in ("._x.png", "loose.png", "bird/notes.txt", "boat/Thumbs.db"):
            (folders / name).write_text("")
        (line,) = make(folders).left_out
        assert line.what == (
            "left out 4 files: 1 hidden by their name (such as ._x.png), "
            "1 without a class's folder (such as loose.png), 2 no image (such as bird/notes.txt)"
        )

    def test_a_list_as_windows_writes_it_is_read(self, images):
        path, before = images / "image_list.txt", make(images).samples
        text = path.read_text().replace("/", "\\").replace("\n", "\r\n")
        for content in (text.encode("utf-8-sig"), text.encode("utf-16"), text.replace(" ", "\t").encode()):
            path.write_bytes(content)
            assert make(images).samples == before

    def test_a_bad_image_is_replaced_where_told(self, images):
        (images / "bird/0.png").write_bytes(b"")
        with pytest.raises(DataError, match=r"bird/0.png"):
            make(images)[0]
        dataset = ClassFolderDataset(str(images), EVAL, CLASSES, on_bad_sample="skip")
        assert dataset[0]["index"] != 0
        assert dataset[1]["index"] == 1
        (images / "boat/1.png").unlink()
        with pytest.raises(DataError, match=r"the file 'boat/1.png' does not exist"):
            make(images)
        dataset = ClassFolderDataset(str(images), EVAL, CLASSES, on_bad_sample="skip")
        assert (len(dataset), dataset.absent) == (11, ["boat/1.png"])
        with pytest.raises(ValueError, match="on_bad_sample must be 'error' or 'skip', got 'pass'"):
            ClassFolderDataset(str(images), EVAL, CLASSES, on_bad_sample="pass")


@pytest.mark.remedy("Add images of it, or leave it out of the classes: `classes` in a config, --classes in a command")
def test_a_class_without_images(images):
    (images / "image_list.txt").unlink()
    for path in (kept := images / "bus").iterdir():
        path.unlink()
    with pytest.raises(DataError, match="has no image. Add images of it, or leave it out of the classes: `classes`"):
        make(images)
    assert len(make(images, classes=("bird", "boat"))) == 8
    audit = ["audit", "--dataset", "class-folders", "--root", images, "--workers", 1]
    assert "--classes in a command" in gcisg(*audit).out
    assert gcisg(*audit, "--classes", "bird", "boat").code == 0
    Image.new("RGB", (32, 36), (1, 2, 3)).save(kept / "0.png")
    assert len(make(images)) == 9


def test_hidden_folders_do_not_shift_the_labels_of_pretraining_images(images):
    (images / "image_list.txt").unlink()
    before = PretrainingImages(str(images), 32).samples
    for name in (".ipynb_checkpoints", "bird/.ipynb_checkpoints"):
        (images / name).mkdir()
        (images / name / "0-checkpoint.png").write_bytes((images / "bird/0.png").read_bytes())
    assert PretrainingImages(str(images), 32).samples == before
