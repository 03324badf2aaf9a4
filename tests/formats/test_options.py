"""`gcisg new-project` on converted folders: its options and checks hold as they do for data that stay in place."""

import json
import shutil
from pathlib import Path

import pytest
from PIL import Image

from gcisg_suite.tasks import read_config
from tests.formats import folders
from tests.formats.commands import make, new_project


@pytest.mark.remedy("No config was written: fix what is listed, or give --force.")
@pytest.mark.parametrize("task", ["segmentation", "detection"])
def test_unlabelled_images_that_training_has_are_named(task, here, capsys):
    folders.yolo_outlines(Path("syn"))
    first, second, *_ = sorted(Path("syn").rglob("images/**/*.*"))
    Path("real").mkdir()
    shutil.copy(first, "real/same.jpg")
    Image.open(second).save("real/again.bmp")
    assert new_project(task) == 1
    output = capsys.readouterr().out
    assert f"real/same.jpg: the same file as {first}, byte for byte." in output
    assert f"real/again.bmp: looks like {second} (correlation " in output
    assert "No config was written: fix what is listed, or give --force." in output
    assert not Path("out/baseline.yaml").exists()
    assert new_project(task, "--force") == 0


def test_json_is_alone_on_standard_output(here, capsys):
    make("replicator")
    assert new_project("segmentation", "--json") == 0
    printed = capsys.readouterr()
    assert json.loads(printed.out)["written"] == ["out/baseline.py", "out/gcisg.py"]
    assert "synthetic: syn read as replicator: 3 images" in printed.err


@pytest.mark.parametrize(
    ("task", "option"),
    [("segmentation", "--num-classes 3"), ("segmentation", "--ignore-index 0"), ("detection", "--images pictures")],
)
def test_options_that_would_do_nothing_on_converted_folders_are_refused(task, option, here, capsys):
    make("replicator")
    assert new_project(task, *option.split()) == 1
    error = capsys.readouterr().err
    assert (
        f"error: {option.split()[0]} applies to labels that are read as they are, but syn is read as replicator."
        in error
    )
    assert not Path("out").exists()


def test_converted_images_may_mix_suffixes(here, capsys):
    import gcisg_seg.registry  # noqa: F401

    make("yolo_outlines")
    for name in ("syn", "real"):
        for first in Path(name).rglob("images/*/0.png"):
            Image.open(first).save(first.with_suffix(".bmp"))
            first.unlink()
    assert new_project("segmentation") == 0, capsys.readouterr().out
    dataset = read_config("out/baseline.py").train_dataloader.dataset.dataset
    assert dataset.img_suffix == (".bmp", ".png")


@pytest.mark.parametrize(("task", "maker"), [("segmentation", "solo"), ("detection", "voc")])
def test_an_edited_config_of_a_conversion_is_kept(task, maker, here, capsys):
    make(maker)
    assert new_project(task) == 0
    (path,) = Path("out").glob("baseline.*")
    written = path.read_text()
    path.write_text(f"{written}# mine\n")
    assert new_project(task) == 1
    assert path.read_text() == f"{written}# mine\n"
    assert new_project(task, "--force", "--classes", "car", "person") == 0
    assert path.with_stem("baseline_old1").read_text() == f"{written}# mine\n"
    assert "schedule: 500 iterations of" in capsys.readouterr().out


@pytest.mark.remedy("Name another --output, or give --force, which keeps a copy of the folder")
@pytest.mark.parametrize(
    ("task", "maker", "edited"),
    [("detection", "voc", "annotations.json"), ("segmentation", "solo", "labels/sequence.0/step0.camera.png")],
)
def test_what_was_changed_in_the_converted_data_is_kept(task, maker, edited, here, capsys):
    make(maker)
    assert new_project(task) == new_project(task) == 0  # the same again
    real = Path("out/data/real")
    path = next(path for path in (real / edited, *sorted((real / "labels").rglob("*.png"))) if path.is_file())
    written = path.read_bytes()
    path.write_bytes(b"mine")
    (real / "notes.txt").write_text("mine, too")
    assert new_project(task) == 1
    error = capsys.readouterr().err
    assert "error: out/data/real: 2 files were changed or added since it was written, such as " in error
    assert (path.read_bytes(), (real / "notes.txt").read_text()) == (b"mine", "mine, too")
    assert new_project(task, "--force") == 0
    assert "kept the old out/data/real as out/data/real_old1" in capsys.readouterr().out
    assert (Path("out/data/real_old1") / path.relative_to(real)).read_bytes() == b"mine"
    assert (Path("out/data/real_old1/notes.txt").read_text(), path.read_bytes()) == ("mine, too", written)
    assert not (real / "notes.txt").exists()
    assert new_project(task) == 0
    assert not [*Path("out/data").glob(".*.partial")]


@pytest.mark.remedy("Name the file: --labels FILE", "Give the JSON file as a path inside one of the folders")
def test_a_named_json_counts_in_the_folder_that_has_it(here, capsys):
    make("blenderproc")
    for name in ("a.json", "b.json"):
        shutil.copy("syn/coco_annotations.json", f"syn/{name}")
    Path("syn/coco_annotations.json").unlink()
    assert new_project("detection") == 1
    assert "syn: holds 2 JSON files in COCO's format (a.json, b.json), expected 1" in capsys.readouterr().err
    for given in ("a.json", "syn/a.json"):
        assert new_project("detection", "--labels", given, "--force") == 0
        assert '["synthetic", "syn/a.json", "syn"]' in Path("out/baseline.yaml").read_text()
    assert new_project("segmentation", "--labels", "a.json") == 0
    assert new_project("detection", "--annotations", "c.json") == 1
    assert "error: c.json: no such file in syn or real. Give the JSON file as a path inside" in capsys.readouterr().err
