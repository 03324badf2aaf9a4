"""`gcisg audit --root ... --real ...`, as `new-project` takes them."""

import json
import shlex

import numpy as np
import pytest
from PIL import Image

from tests.documents import run
from tests.test_own_data import MAKE, make_both, noise

OPTIONS = {
    "classification": ["class-folders"],
    "segmentation": ["pairs", "--classes", "my/classes.txt"],
    "detection": ["coco", "--annotations", "annotations.json"],
}


@pytest.fixture
def folders(tmp_path, monkeypatch, request):
    """`my/synthetic` and `my/real` of a task, in the folder in which commands run."""
    make_both(request.param, tmp_path / "my")
    monkeypatch.chdir(tmp_path)
    return request.param


def audit(task, capsys, *more, real="my/real"):
    dataset, *options = OPTIONS[task]
    flags = ["--dataset", dataset, "--root", "my/synthetic", "--real", real, "--workers", "1", "--json", *options]
    status = run(shlex.join(["gcisg", "audit", *flags, *more]))
    return status, capsys.readouterr()


@pytest.mark.parametrize("folders", MAKE, indirect=True)
def test_images_of_both_are_named(folders, tmp_path, capsys):
    status, printed = audit(folders, capsys)
    assert status == 0, printed
    (first, second), (same, again) = (
        sorted(path for path in (tmp_path / "my" / name).rglob("*.png") if path.parent.name != "labels")[:2]
        for name in ("synthetic", "real")
    )
    same.write_bytes(first.read_bytes())
    Image.open(second).save(again, compress_level=1)
    status, printed = audit(folders, capsys)
    assert status == 1
    mine, real = json.loads(printed.out)["audits"]
    assert (mine["root"], mine["problems"], real["root"]) == ("my/synthetic", [], "my/real")
    words = [problem["what"] for problem in real["problems"]]
    assert [text.partition(" my/")[0] for text in words] == ["the same file as", "looks like"]


@pytest.mark.parametrize("folders", MAKE, indirect=True)
def test_images_without_labels_and_the_same_folder_twice(folders, tmp_path, capsys):
    noise(tmp_path / "photos/1.png", np.random.default_rng(9))
    assert audit(folders, capsys, real="photos")[0] == 0
    status, printed = audit(folders, capsys, real="my/synthetic")
    kinds = json.loads(printed.out)["audits"][1]["summary"]
    assert (status, [*kinds]) == (1, ["is also an image of the training data"])


@pytest.mark.parametrize("folders", ["classification"], indirect=True)
def test_the_classes_are_those_of_the_synthetic_folder(folders, tmp_path, capsys):
    (tmp_path / "my/real/bus").rename(tmp_path / "my/real/coach")
    status, printed = audit(folders, capsys)
    (problem,) = json.loads(printed.out)["audits"][1]["problems"]
    assert (status, problem["file"]) == (1, "my/real/coach")
    assert audit(folders, capsys, real="nowhere")[1].err == "error: --real nowhere: no such folder\n"
    assert run("gcisg audit --dataset gtav --root my --real my") == 2
    assert "--real is for your own data (class-folders, pairs, coco)" in capsys.readouterr().err
