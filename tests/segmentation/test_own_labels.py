"""Label images of your own: each way in which programs write them gives the classes that were drawn."""

from __future__ import annotations

import json

import numpy as np
import pytest
from PIL import Image

from gcisg_core.problems import DataError
from gcisg_seg import checks
from gcisg_seg.datasets import ImageLabelDataset
from gcisg_seg.layouts import Pair
from gcisg_seg.own_labels import LabelRule
from tests.segmentation.label_files import COLOURS, DRAWN, NAMES, PIPELINE, VOID, audit, coloured, indexed, write_pairs


def quantized(numbers):
    return Image.fromarray(np.array(COLOURS, np.uint8)[numbers]).quantize(3)


def ramp(numbers):
    image = Image.fromarray(numbers)
    image.putpalette(np.arange(256, dtype=np.uint8).repeat(3).tolist())
    return image


# How a file was written -> (the image, whether the classes have colours).
FILES = {
    "indexed, in the order of the classes": (indexed(VOID, COLOURS, (0, 1, 2)), True),
    "indexed, in another order": (indexed(VOID, COLOURS, (2, 0, 1)), True),
    "indexed, far up": (indexed(VOID, COLOURS, (17, 250, 3)), True),
    "indexed, by Pillow": (quantized(DRAWN), True),
    "indexed, a ramp of greys": (ramp(VOID), True),
    "indexed, classes without colours": (indexed(VOID, [(9, 9, 9), (8, 8, 8), (5, 6, 7)], (0, 1, 2)), False),
    "grey": (Image.fromarray(VOID), True),
    "grey with alpha": (Image.merge("LA", [Image.fromarray(VOID)] * 2), True),
    "colours": (coloured(VOID), True),
    "colours with alpha": (coloured(VOID).convert("RGBA"), True),
}


def audited_and_trained(folder, image, **settings):
    """The label as the audit and as training read it."""
    for part in ("images", "labels"):
        (folder / part).mkdir(parents=True)
    Image.fromarray(np.random.default_rng(0).integers(0, 255, (30, 48, 3), np.uint8)).save(folder / "images/0.png")
    path = folder / "labels/0.png"
    image.save(path)
    palette = settings.pop("palette", None)
    reader = checks.own_reader(settings.pop("classes", 3), palette, **settings)
    audited = reader.number(Pair("", str(path), "own"), reader.decode(str(path), "own"))
    metainfo = {"classes": NAMES[: 2 if len(settings.get("label_values", NAMES)) == 2 else 3], "palette": palette}
    dataset = ImageLabelDataset(str(folder), metainfo, pipeline=PIPELINE, **settings)
    return audited, dataset[0]["data_samples"].gt_sem_seg.data[0].numpy()


@pytest.mark.parametrize("kind", FILES)
def test_audit_and_training_read_the_classes_that_were_drawn(tmp_path, kind):
    image, has_colours = FILES[kind]
    drawn = DRAWN if kind == "indexed, by Pillow" else VOID
    for found in audited_and_trained(tmp_path / "data", image, palette=COLOURS if has_colours else None):
        np.testing.assert_array_equal(found, drawn)


@pytest.mark.parametrize(
    ("settings", "values"),
    [
        ({"reduce_zero_label": True}, {0: 255, 1: 0, 2: 1, 3: 2, 255: 255}),
        ({"ignore_index": 9}, {0: 0, 1: 1, 2: 2, 9: 255, 255: 255}),
        ({"ignore_index": 0}, {0: 255, 1: 1, 2: 2, 255: 255}),
        ({"label_values": (0, 127, 255)}, {0: 0, 127: 1, 255: 2}),
        ({"label_values": (0, 255), "classes": 2}, {0: 0, 255: 1}),
        ({"label_values": (1, 0), "classes": 2}, {0: 1, 1: 0, 255: 255}),
    ],
)
def test_settings_say_what_values_mean(tmp_path, settings, values):
    stored = np.resize(np.array([*values], np.uint8), (30, 48))
    expected = np.vectorize(values.get)(stored)
    for found in audited_and_trained(tmp_path / "data", Image.fromarray(stored), **settings):
        np.testing.assert_array_equal(found, expected)


def test_colours_are_not_reduced(tmp_path):
    for image in (coloured(VOID), indexed(VOID, COLOURS, (2, 0, 1))):
        found, _ = audited_and_trained(tmp_path / image.mode, image, palette=COLOURS, reduce_zero_label=True)
        np.testing.assert_array_equal(found, VOID)


def test_a_palette_of_other_colours_is_refused_and_the_remedy_reads_it(tmp_path):
    image = indexed(VOID, [(1, 2, 3), *COLOURS[1:]], (0, 1, 2))
    with pytest.raises(
        DataError, match=r"colours of its palette that belong to no class: 1, such as \['#010203'\]"
    ) as raised:
        audited_and_trained(tmp_path / "with", image, palette=COLOURS)
    assert "Leave the colours out of the classes" in raised.value.problem.remedy
    for found in audited_and_trained(tmp_path / "without", image):
        np.testing.assert_array_equal(found, VOID)


@pytest.mark.remedy("Set label_values=(0, 255) or label_values=(0, 1) on the data set")
def test_a_mask_of_0_and_255_is_never_read_in_silence(tmp_path):
    mask = Image.fromarray(np.where(DRAWN == 1, 255, 0).astype(np.uint8))
    with pytest.raises(DataError, match=r"only the values 0 and 255.*label_values=\(0, 255\) or label_values=\(0, 1\)"):
        audited_and_trained(tmp_path / "unsaid", mask, classes=2)
    for name, second in (("mask", 1), ("none", 255)):
        values = (0, 255) if name == "mask" else (0, 1)
        for found in audited_and_trained(tmp_path / name, mask, classes=2, label_values=values):
            np.testing.assert_array_equal(found, np.where(DRAWN == 1, second, 0))


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"colours": ((1, 2, 3),)}, "metainfo.palette must be 3 colours"),
        ({"colours": ((1, 2, 3),) * 3}, "metainfo.palette must be another colour for each class"),
        ({"label_values": (0, 1)}, "label_values must be 3 different values of 0 to 255"),
        ({"label_values": (0, 1, 256)}, "label_values must be 3 different values"),
        ({"label_values": (0, 1, 2), "reduce_zero_label": True}, "left out where reduce_zero_label is set"),
        ({"ignore_index": -100}, "ignore_index must be a value of 0 to 255"),
    ],
)
def test_settings_that_cannot_be_are_refused(settings, message):
    with pytest.raises(ValueError, match=message):
        LabelRule(3, **settings)


@pytest.fixture
def folder(tmp_path):
    return write_pairs(tmp_path)


def test_the_audit_says_how_labels_were_read_and_shows_the_table(folder):
    result = audit(folder)
    assert result.problems == []
    (note,) = result.notes
    assert note.what == "3 labels are read by the colours of their palettes"
    rows = {(row["index"], row["class"]): row for row in result.labels}
    assert {key for key in rows if key[1] == "car"} == {("1", "car"), ("0", "car"), ("2", "car")}
    assert rows["255", "(none)"]["pixels"] == f"{100 * 4 / 48:.2f} %"
    assert rows["2", "road"] == {
        "index": "2",
        "colour": "#804080",
        "class": "road",
        "pixels": f"{100 * 12 / 144:.2f} %",
    }
    assert sum(float(row["pixels"][:-2]) for row in result.labels) == pytest.approx(100, abs=0.05)
    by_index = audit(folder, colours=None)
    assert [note.what for note in by_index.notes] == ["3 labels are read by value"]
    json.dumps(result.labels)


def test_the_audit_finds_masks_and_says_what_the_config_needs(folder):
    for path in (folder / "labels").iterdir():
        Image.fromarray(np.where(DRAWN == 1, 255, 0).astype(np.uint8)).save(path)
    result = audit(folder, ("background", "object"), None)
    assert result.problems == []
    assert "255 is 'object'" in result.notes[0].what
    assert "label_values=(0, 255)" in result.notes[0].remedy
    assert result.counts == {"all": 3, "all/background": 3, "all/object": 3}
    Image.fromarray((DRAWN == 1).astype(np.uint8)).save(folder / "labels/0.png")  # numbers and masks mixed
    assert len(audit(folder, ("background", "object"), None).problems) == 2
