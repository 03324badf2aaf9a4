"""The picture of the images on which two models differ: its counts, which images it shows, and its layout."""

from functools import partial
from itertools import combinations

import numpy as np
import pytest
from matplotlib.backends.backend_agg import FigureCanvasAgg
from PIL import Image

from gcisg_suite.report.differences import CAPTION, DPI, WIDTH, Differences, draw, evenly, mark, save

BOTH_RIGHT, BROKEN, FIXED, BOTH_WRONG = (True, True), (True, False), (False, True), (False, False)


def fill(image, axes):
    for axis in axes:
        axis.imshow(np.full((3, 4, 3), image % 256, np.uint8))
        mark(axis, 0, 0, right=bool(image % 2), text=str(image))


def differences(right, image=None, **changes):
    names = ("baseline", "GCISG")
    given = {
        "counted": "test images", "rule": "An image is right when the predicted digit is.", "names": names,
        "image": np.arange(len(right)) if image is None else np.array(image), "right": np.array(right, bool),
        "rows": dict.fromkeys(("image", *names), 0.5), "columns": 10, "draw": fill, **changes,
    }  # fmt: skip
    return Differences(**given)


def test_what_is_fixed_and_broken_is_counted_over_all_items():
    found = differences([BOTH_RIGHT, BROKEN, FIXED, BOTH_WRONG, FIXED, BOTH_RIGHT])
    assert found.fixed.tolist() == [False, False, True, False, True, False]
    assert found.broken.tolist() == [False, True, False, False, False, False]
    assert found.summary == "GCISG fixes 2 and breaks 1 of 6 test images"
    assert found.totals == "Right: 3 (baseline) and 4 (GCISG)."


@pytest.mark.parametrize(
    ("fixed", "broken", "columns", "shown"),
    [(60, 40, 10, (6, 4)), (999, 1, 10, (9, 1)), (1, 999, 10, (1, 9)), (5, 0, 10, (5, 0)), (0, 30, 7, (0, 7)),
     (2, 1, 10, (2, 1)), (0, 0, 10, (0, 0))],
)  # fmt: skip
def test_images_are_in_proportion_of_fixed_to_broken_with_one_of_each(fixed, broken, columns, shown):
    found = differences([FIXED] * fixed + [BOTH_WRONG] * 3 + [BROKEN] * broken + [BOTH_RIGHT], columns=columns)
    images = found.chosen()
    assert (sum(found.fixed[images]), sum(found.broken[images])) == shown
    assert len(set(images)) == len(images) == sum(shown)
    assert [found.said(image) for image in images] == ["fixed"] * shown[0] + ["broken"] * shown[1]


def test_images_are_evenly_spaced_through_those_that_differ():
    assert evenly(np.arange(100), 4) == [12, 37, 62, 87]
    assert evenly(np.array([3, 8]), 4) == [3, 8]
    assert evenly(np.array([]), 3) == []


def test_a_scene_with_something_fixed_and_something_broken_is_shown_once():
    found = differences([FIXED, BROKEN, FIXED, FIXED, BOTH_WRONG], image=[0, 0, 0, 1, 2])
    assert found.chosen() == [1, 0]
    assert [found.said(image) for image in found.chosen()] == ["1 fixed", "2 fixed, 1 broken"]


def test_one_model_alone_is_refused():
    with pytest.raises(ValueError, match=r"two runs with checkpoints, got \['baseline'\]"):
        differences([BOTH_RIGHT], names=["baseline"])


def test_the_picture_has_a_width_of_1000_and_readable_text_that_nothing_overlaps(tmp_path):
    scenes = partial(differences, columns=7, counted="digits in 150 test scenes", legend={"0": "red", "ground": "grey"})
    blocks = {
        "Classification": differences([FIXED] * 80 + [BROKEN] * 20),
        "Segmentation": scenes([FIXED, BROKEN] * 20, image=np.repeat(np.arange(20), 2)),
        "Detection": scenes([BOTH_WRONG]),
    }
    figure = draw(blocks)
    renderer = FigureCanvasAgg(figure).get_renderer()
    legends = [text for legend in figure.legends for text in legend.get_texts()]
    marks = [text for axis in figure.axes for text in axis.texts]
    assert min(text.get_fontsize() for text in [*figure.texts, *legends, *marks]) >= 9
    boxes = [item.get_window_extent(renderer) for item in [*figure.texts, *figure.legends, *figure.axes]]
    assert not [pair for pair in combinations(boxes, 2) if pair[0].overlaps(pair[1])]
    assert all(figure.bbox.containsx(x) and figure.bbox.containsy(y) for box in boxes for x, y in box.corners())
    assert len(figure.axes) == 3 * 10 + 3 * 7
    said = [text.get_text() for text in figure.texts]
    assert "Classification: GCISG fixes 80 and breaks 20 of 100 test images" in said
    assert {"1 fixed, 1 broken", "There is no image on which the two differ.", CAPTION} <= {*said}
    with Image.open(save(figure, tmp_path / "a picture.png")) as image:
        assert image.width == round(WIDTH * DPI) == 1000
        assert min(image.convert("RGB").getpixel((1, 1))) > 250
