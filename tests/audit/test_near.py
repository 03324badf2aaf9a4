"""Copies of training images in the evaluation are found; images that are alike by their making are not."""

import numpy as np
import pytest
from PIL import Image, ImageDraw, ImageEnhance
from sklearn.datasets import load_sample_images

from gcisg_suite.audit.images import describe
from gcisg_suite.audit.near import near_duplicates, shared_images


def looks(folder, images):
    folder.mkdir(exist_ok=True)
    found = []
    for number, image in enumerate(images):
        image.save(path := folder / f"{number}.png")
        found.append(describe(path, np.array(image)))
    return found


def photos(seed, count=40):
    """Pieces of two photographs."""
    rng, found, whole_ones = np.random.default_rng(seed), [], load_sample_images().images
    for number in range(count):
        whole = whole_ones[number % 2]
        size = rng.integers(100, 200)
        y, x = (rng.integers(0, length - size) for length in whole.shape[:2])
        found.append(Image.fromarray(whole[y : y + size, x : x + size]))
    return found


def renders(seed, count=200):
    """One thing of one colour, turned and scaled, on an empty ground."""
    rng, found = np.random.default_rng(seed), []
    for _ in range(count):
        image = Image.new("RGB", (96, 96), (235, 235, 235))
        turn, size = rng.uniform(0, 6.28), rng.uniform(18, 38)
        corners = [(48 + size * np.cos(turn + a), 48 + 0.6 * size * np.sin(turn + a)) for a in (0, 1.2, 2.9, 4.4)]
        ImageDraw.Draw(image).polygon(corners, fill=(120, 30, 30))
        found.append(image)
    return found


def encoded(image, folder):
    image.save(folder / "again.jpg", quality=40)
    return Image.open(folder / "again.jpg").convert("RGB")


COPIES = {
    "encoded": encoded,
    "half": lambda image, _: image.resize((image.width // 2, image.height // 2)),
    "darker": lambda image, _: ImageEnhance.Brightness(image).enhance(0.8),
}


@pytest.mark.parametrize("change", COPIES)
def test_an_image_encoded_resized_or_darkened_is_found(tmp_path, change):
    mine, real = photos(0), photos(1)
    real[7] = COPIES[change](mine[3], tmp_path)
    (problem,) = near_duplicates(looks(tmp_path / "mine", mine), looks(tmp_path / "real", real))
    assert problem.file == str(tmp_path / "real/7.png")
    assert problem.what.startswith(f"looks like {tmp_path / 'mine/3.png'} (correlation ")


@pytest.mark.parametrize("make", [photos, renders])
def test_images_that_are_alike_by_their_making_are_no_copies(tmp_path, make):
    found = near_duplicates(looks(tmp_path / "mine", make(0)), looks(tmp_path / "real", make(1)))
    assert len(found) <= 1, found  # of 200 poses one may be that of a training image indeed


def test_a_copied_render_is_found_among_others(tmp_path):
    mine, real = renders(0), renders(1)
    real[0] = mine[9].resize((90, 90))
    found = near_duplicates(looks(tmp_path / "mine", mine), looks(tmp_path / "real", real))
    assert str(tmp_path / "real/0.png") in [problem.file for problem in found]


def test_the_same_file_is_one_line_and_flat_images_are_none(tmp_path):
    flat = Image.new("RGB", (20, 20), (9, 9, 9))
    mine = looks(tmp_path / "mine", [*photos(0, 4), flat])
    real = looks(tmp_path / "real", [*photos(1, 2), photos(0, 4)[1], flat])
    (problem,) = shared_images([None, *mine], [None, *real])
    assert problem.what == f"the same file as {tmp_path / 'mine/1.png'}, byte for byte"
    assert shared_images([], real) == shared_images(mine, []) == []
