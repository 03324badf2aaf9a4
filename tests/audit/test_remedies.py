"""What the audit of images tells people to do, done: each message is provoked and followed, and is gone then."""

import numpy as np
import pytest
from PIL import Image

from gcisg_core.problems import ABSENT_CLASS, AuditResult, Problem
from gcisg_suite.audit.evaluation import compared
from gcisg_suite.audit.images import audit_images, look, repeated_names
from gcisg_suite.audit.near import shared_images
from gcisg_suite.images import read_image


def noise(path, seed=0, low=60, high=120, size=(12, 8), **options):
    path.parent.mkdir(exist_ok=True)
    Image.fromarray(np.random.default_rng(seed).integers(low, high, (*size[::-1], 3), np.uint8)).save(path, **options)
    return path


def looks(folder):
    return [look(path) for path in sorted(folder.iterdir())]


# What the message says to do, how the folder is spoilt, and how the message is followed.
FOLDERS = [
    ("Remove one of the two; train and test must not share images",
        lambda f: noise(f / "copy.png", 3), lambda f: (f / "copy.png").unlink()),
    ("Look at it. If it is nearly black, washed out, or out of place, remove it",
        lambda f: noise(f / "dark.png", 99, 0, 8), lambda f: (f / "dark.png").unlink()),
    ("Render or download it again, or remove it",
        lambda f: Image.new("RGB", (12, 8)).save(f / "3.png"), lambda f: noise(f / "3.png", 3)),
    ("Render or download it again, or remove it",
        lambda f: Image.new("RGB", (12, 8)).save(f / "flat.png"), lambda f: (f / "flat.png").unlink()),
]  # fmt: skip


@pytest.mark.remedy(*FOLDERS)
@pytest.mark.parametrize(("words", "spoil", "follow"), FOLDERS)
def test_images_of_one_folder(tmp_path, words, spoil, follow):
    for number in range(20):
        noise(tmp_path / f"{number}.png", number)
    spoil(tmp_path)
    assert [problem.remedy for problem in audit_images(tmp_path).problems] == [words]
    follow(tmp_path)
    assert audit_images(tmp_path).problems == []


@pytest.mark.remedy("Compare them. {}", "Evaluate on other images: name another folder")
def test_images_of_training_and_evaluation(tmp_path):
    for number in range(4):
        Image.effect_noise((64, 64), 20 + number).convert("RGB").save(noise(tmp_path / f"syn/{number}.png"))
        Image.effect_noise((64, 64), 40 + number).convert("RGB").save(noise(tmp_path / f"real/{number}.png"))
    synthetic, again = looks(tmp_path / "syn"), tmp_path / "real/9.png"
    assert {line.remedy for line in shared_images(synthetic, synthetic)} == {
        "Evaluate on other images: name another folder"
    }
    Image.open(tmp_path / "syn/1.png").save(again, compress_level=1)
    (line,) = shared_images(synthetic, looks(tmp_path / "real"))
    assert line.remedy == "Compare them. Remove one of the two; train and test must not share images"
    first, second = (read_image(path) for path in (line.file, line.what.split()[2]))
    assert (first == second).all()
    again.unlink()
    assert shared_images(synthetic, looks(tmp_path / "real")) == []


@pytest.mark.remedy("Rename one, or remove it if it is the same image")
def test_names_that_repeat(tmp_path):
    paths = [noise(tmp_path / name, seed) for seed, name in enumerate(("a/1.png", "b/1.png", "b/2.png"))]
    (line,) = repeated_names(paths)
    assert line.remedy == "Rename one, or remove it if it is the same image"
    paths[1] = paths[1].rename(tmp_path / "b/3.png")
    assert repeated_names(paths) == repeated_names(paths[:1]) == []


@pytest.mark.remedy("Nothing to do: it gets no result, and the other classes are evaluated")
def test_a_class_that_the_evaluation_lacks_is_no_fault():
    absent = Problem("real.json", "category 'bus' has no annotation", "Annotate it", ABSENT_CLASS)
    told = compared(AuditResult([], {}), AuditResult([absent], {}))
    assert told.problems == []
    assert [note.remedy for note in told.notes] == [
        "Nothing to do: it gets no result, and the other classes are evaluated"
    ]
