"""What is found in single images and between them."""

import numpy as np
import pytest
from PIL import Image

from gcisg_core.problems import DataError
from gcisg_suite.audit.images import compare, flat_problem, look, repeated_names
from gcisg_suite.audit.parallel import check_all


def save(path, seed=0, low=60, high=120):
    """Noise; the grey level of its mean lies halfway between the bounds."""
    Image.fromarray(np.random.default_rng(seed).integers(low, high, (8, 12, 3), np.uint8)).save(path)
    return path


def test_a_look_has_size_mean_and_digest(tmp_path):
    one, other = look(save(tmp_path / "a.png")), look(save(tmp_path / "b.png"))
    assert one.size == (12, 8)
    assert one.mean == pytest.approx(np.asarray(Image.open(tmp_path / "a.png")).mean())
    assert (one.digest, one.flat) == (other.digest, False)
    assert look(save(tmp_path / "c.png", seed=1)).digest != one.digest


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", r"not a readable image \(it is empty, 0 bytes"),
        (b"<html>", r"not a readable image \(Pillow does not recognise its format"),
        ("half", r"not a readable image \(.*[Tt]runcated"),
        (None, "no such image file"),
    ],
)
def test_what_is_no_image_is_refused_by_name(tmp_path, content, message):
    path = tmp_path / "a.png"
    if content == "half":
        save(path)
        content = path.read_bytes()[:150]
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(DataError, match=rf"a\.png: {message}"):
        look(path)


def test_one_colour_is_a_problem_and_is_not_compared(tmp_path):
    for name in ("a.png", "b.png"):
        Image.new("RGB", (8, 8), (9, 9, 9)).save(tmp_path / name)
    looks = [look(tmp_path / name) for name in ("a.png", "b.png")]
    assert [len(flat_problem(item)) for item in looks] == [1, 1]
    assert compare(looks) == []


def test_a_copy_names_the_first_and_its_own_file(tmp_path):
    looks = [None, look(save(tmp_path / "a.png")), look(save(tmp_path / "b.png", 1)), look(save(tmp_path / "c.png"))]
    (problem,) = compare(looks)
    assert problem.file.endswith("c.png")
    assert f"the same file as {tmp_path / 'a.png'}" in problem.what


def test_a_mean_far_from_the_others_is_named(tmp_path):
    looks = [look(save(tmp_path / f"{number}.png", number)) for number in range(30)]
    assert compare(looks) == []
    dark = look(save(tmp_path / "dark.png", 99, 0, 8))
    (problem,) = compare([*looks, dark])
    assert problem.file == str(tmp_path / "dark.png")
    assert "its mean value is 3 of 255; that of the others is 89 ± 4" in problem.what
    assert compare([*looks[:10], dark]) == []  # too few to tell


def test_a_name_in_two_folders_is_named():
    (problem,) = repeated_names(["train/a.png", "train/b.png", "val/a.png"])
    assert (problem.file, problem.what) == ("val/a.png", "has the file name of train/a.png")


@pytest.mark.parametrize("workers", [1, 2])
def test_results_keep_the_order_of_the_items(workers):
    assert check_all(abs, list(range(-200, 200)), workers) == [abs(number) for number in range(-200, 200)]
    assert check_all(abs, [], workers) == []
