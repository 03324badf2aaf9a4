"""The miniature classification data: same seed same bytes, the official layout, no leak between its parts."""

from __future__ import annotations

import hashlib
import itertools
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from gcisg_suite.miniature import classification, ingredients
from gcisg_suite.miniature.folders import RECIPE_FILE, write_class_folders, write_once
from gcisg_suite.miniature.glyphs import GLYPH_NAMES, GLYPHS, fit, scanned
from gcisg_suite.miniature.network import MiniResNet
from gcisg_suite.miniature.strokes import catmull_rom, draw_digit
from gcisg_suite.miniature.styles import synthetic_look
from gcisg_suite.miniature.templates import TEMPLATES


def digest(folder: Path) -> str:
    """One hash over names and bytes of all files."""
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    parts = [str(path.relative_to(folder)).encode() + path.read_bytes() for path in files]
    return hashlib.sha256(b"\0".join(parts)).hexdigest()


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("mini")
    classification.prepare_source(folder / "source", seed=0, per_class=4, progress=False)
    classification.prepare_target(folder / "dev", "dev", composites=1)
    classification.prepare_reference(folder / "reference", 0, per_class=2, val_per_class=1, progress=False)
    return folder


def test_same_seed_gives_the_same_bytes(root: Path, tmp_path: Path) -> None:
    classification.prepare_source(tmp_path / "source", seed=0, per_class=4, progress=False)
    assert digest(tmp_path / "source") == digest(root / "source")
    lines = (root / "reference" / "val" / "image_list.txt").read_text().splitlines()
    assert len(lines) == 81
    for label, line in enumerate(lines):
        [picture] = classification.reference_pictures("val", 0, 1, label)
        relative, written = line.split()
        assert label == int(written)
        assert np.array_equal(picture, np.asarray(Image.open(root / "reference" / "val" / relative)))
    for (_, first), (_, second) in zip(
        *(itertools.islice(classification.target_pictures("dev"), 30) for _ in "ab"), strict=True
    ):
        assert np.array_equal(first, second)


def test_another_seed_gives_another_source(root: Path, tmp_path: Path) -> None:
    classification.prepare_source(tmp_path / "source", seed=1, per_class=4, progress=False)
    first, second = (Image.open(at / "source" / "zero" / "00000.png").tobytes() for at in (root, tmp_path))
    assert first != second


@pytest.mark.parametrize(
    ("folder", "names", "count"),
    [
        ("source", ingredients.DIGIT_NAMES, 40),
        ("dev", ingredients.DIGIT_NAMES, 1500),
        ("reference/train", GLYPH_NAMES, 162),
        ("reference/val", GLYPH_NAMES, 81),
    ],
)
def test_layout_is_visda17s(root: Path, folder: str, names: tuple[str, ...], count: int) -> None:
    lines = (root / folder / "image_list.txt").read_text().splitlines()
    assert len(lines) == len(set(lines)) == count
    assert {int(line.split()[1]) for line in lines} == set(range(len(names)))
    for line in lines[::9]:
        relative, label = line.split()
        assert relative.split("/")[0] == names[int(label)]
        with Image.open(root / folder / relative) as picture:
            assert (picture.format, picture.mode, picture.size) == ("PNG", "RGB", (64, 64))
    assert len(list((root / folder).rglob("*.png"))) == count


def test_splits_of_the_digits_are_disjoint_and_complete() -> None:
    inks = [ingredients.real_digits(split)[0] for split in ("train", "dev", "test")]
    assert [len(part) for part in inks] == [2000, 1500, 1500]
    assert len({digit.tobytes() for part in inks for digit in part}) == 5000
    for split in ("train", "dev", "test"):
        counts = np.bincount(ingredients.real_digits(split)[1])
        assert len(counts) == 10
        assert len(set(counts)) == 1


def test_photo_strips_share_no_pixel() -> None:
    edges = sorted(ingredients.PHOTO_STRIPS.values())
    assert edges[0][0] == 0
    assert edges[-1][1] == 1
    assert all(left[1] == right[0] for left, right in itertools.pairwise(edges))
    for photos in zip(*map(ingredients.photo_strip, ingredients.PHOTO_STRIPS), strict=True):
        assert all(photo.mode == "RGB" and photo.height >= 200 and photo.width >= 128 for photo in photos)


def test_a_package_that_is_not_installed_is_named() -> None:
    with pytest.raises(FileNotFoundError, match="nowhere/a.png is not installed.*pip install no-where"):
        ingredients.shipped_file("nowhere", "a.png", "no-where")


def test_synthetic_pictures_are_dots_of_one_colour_on_another() -> None:
    rng = np.random.default_rng(0)
    looks = [synthetic_look(np.ones((8, 8), np.float32), rng, 4, 2) for _ in range(40)]
    for picture in looks:
        assert len(np.unique(picture.reshape(-1, 3), axis=0)) == 2
        assert (picture != picture[3, 3]).any(axis=2).sum() == 16
    lighter = [picture[0, 0].sum() > picture[3, 3].sum() for picture in looks]
    assert 5 < sum(lighter) < 35


def test_patches_have_texture_and_the_asked_size() -> None:
    rng = np.random.default_rng(0)
    patches = [ingredients.photo_patch("dev", (24, 32), rng) for _ in range(20)]
    assert all(patch.shape == (24, 32, 3) and patch.min() >= 0 and patch.max() <= 1 for patch in patches)
    assert all(patch[..., 1].std() >= 0.1 for patch in patches)


def test_unknown_half_is_named() -> None:
    with pytest.raises(ValueError, match="val"):
        ingredients.real_digits("val")
    with pytest.raises(ValueError, match="val"):
        ingredients.photo_strip("val")


def test_glyph_classes_hold_no_digit_and_no_double() -> None:
    assert len(GLYPHS) == len(set(GLYPHS)) == 81
    assert not any(glyph.isdigit() for glyph in GLYPHS)
    assert all(ingredients.fonts_with(glyph) for glyph in GLYPHS)


def test_curve_passes_through_its_points() -> None:
    points = np.array([[0.0, 0.0], [1.0, 2.0], [3.0, 1.0]])
    curve = catmull_rom(points, steps=5)
    assert curve.shape == (11, 2)
    np.testing.assert_allclose(curve[::5], points)


def test_every_template_draws_ink_inside_the_canvas() -> None:
    rng = np.random.default_rng(0)
    for digit in range(10):
        assert len(TEMPLATES[digit]) >= 3
        for _ in range(20):
            mask = draw_digit(digit, rng)
            assert mask.sum() > 100
            assert not mask[[0, -1]].any()
    with pytest.raises(ValueError, match="10"):
        draw_digit(10, rng)


def test_masks_are_fitted_like_mnist() -> None:
    bar = np.zeros((40, 40), np.float32)
    bar[5:35, 20:23] = 1
    fitted = fit(bar, 20)
    assert fitted.shape == (20, 20)
    assert (fitted.max(axis=0) > 0.5).sum() == 2  # proportions are kept
    assert (fitted.max(axis=1) > 0.5).all()
    assert scanned(bar, 50).shape == (50, 50)
    with pytest.raises(ValueError, match="no ink"):
        fit(np.zeros((4, 4), np.float32), 8)


def pictures(count: int) -> list[tuple[int, np.ndarray]]:
    return [(index % 2, np.full((4, 4, 3), index, np.uint8)) for index in range(count)]


def write(folder: Path) -> None:
    write_class_folders(folder, ("a", "b"), iter(pictures(4)))


def test_complete_folder_is_reused_and_another_recipe_rebuilds_it(tmp_path: Path) -> None:
    goal = tmp_path / "goal"
    assert write_once(goal, {"seed": 0}, write)
    assert not write_once(goal, {"seed": 0}, write)
    assert write_once(goal, {"seed": 1}, write)


@pytest.mark.remedy("Make it where it can, with the same command, or set GCISG_DATA to another folder")
def test_a_complete_folder_may_be_read_only(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_once(tmp_path / "data/goal", {}, write)
    kept = digest(tmp_path)
    monkeypatch.setattr("gcisg_suite.miniature.folders.os.access", lambda path, mode: tmp_path / "data" != path)
    monkeypatch.setattr("gcisg_suite.miniature.folders._locked", None)  # a lock would be a file beside the folder
    assert not write_once(tmp_path / "data/goal", {}, write)
    assert digest(tmp_path) == kept
    with pytest.raises(PermissionError, match=r"other is missing or incomplete, and .*data cannot be written to"):
        write_once(tmp_path / "data/other", {}, write)
    monkeypatch.undo()
    assert write_once(tmp_path / "another folder/other", {}, write)


def test_folder_with_a_lost_file_is_rebuilt(tmp_path: Path) -> None:
    goal = tmp_path / "goal"
    write_once(goal, {}, write)
    before = digest(goal)
    (goal / "a" / "00000.png").unlink()
    assert write_once(goal, {}, write)
    assert digest(goal) == before


def test_interrupted_write_leaves_no_goal_and_is_cleared_away(tmp_path: Path) -> None:
    goal = tmp_path / "goal"

    def interrupted(folder: Path) -> None:
        write(folder)
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        write_once(goal, {}, interrupted)
    assert not goal.exists()
    assert not list(tmp_path.glob(".goal.partial-*"))
    (tmp_path / ".goal.partial-killed").mkdir()
    assert write_once(goal, {}, write)
    assert not list(tmp_path.glob(".goal.partial-*"))
    assert (goal / RECIPE_FILE).is_file()


def test_foreign_folder_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "thesis.tex").write_text("years of work")
    with pytest.raises(FileExistsError, match="did not write"):
        write_once(tmp_path, {}, write)
    assert (tmp_path / "thesis.tex").is_file()


def test_network_stages_and_initial_weights() -> None:
    state = torch.random.get_rng_state()
    first, second = MiniResNet(10), MiniResNet(10)
    assert torch.equal(state, torch.random.get_rng_state())  # a seeded network draws nothing from the global state
    for a, b in zip(first.parameters(), second.parameters(), strict=True):
        assert torch.equal(a, b)
    images = torch.rand(2, 3, 64, 64)
    maps = first.stages(images)
    assert [tuple(part.shape[1:]) for part in maps] == [(16, 32, 32), (48, 16, 16), (96, 8, 8), (192, 4, 4)]
    torch.testing.assert_close(first.fc(maps[-1].mean((2, 3))), first(images))
