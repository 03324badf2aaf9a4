"""Label images of your own: each way in which programs write them gives the classes that were drawn."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from gcisg_core.problems import DataError
from gcisg_seg import checks
from gcisg_seg.audit import audit_image_labels
from gcisg_seg.datasets import ImageLabelDataset
from gcisg_seg.layouts import Pair
from gcisg_seg.own_labels import LabelRule
from tests.command import gcisg

NAMES = ("road", "car", "person")
COLOURS = [(128, 64, 128), (0, 0, 142), (220, 20, 60)]
DRAWN = np.kron(np.arange(3, dtype=np.uint8).reshape(1, 3), np.ones((30, 16), np.uint8))
VOID = np.where(np.arange(48) < 4, 255, DRAWN).astype(np.uint8)  # the same with a border of no class
PIPELINE = [{"type": f"mmseg.{name}"} for name in ("LoadCheckedImage", "LoadClassLabels", "PackSegInputs")]


def indexed(numbers, colours, order):
    """An indexed image whose palette has `colours` at the places of `order`; 255 stays."""
    places = np.arange(256, dtype=np.uint8)
    places[list(range(len(order)))] = order
    palette = np.full((256, 3), 7, np.uint8)
    palette[list(order)] = colours[: len(order)]
    image = Image.fromarray(places[numbers])
    image.putpalette(palette.ravel().tolist())
    return image


def quantized(numbers):
    return Image.fromarray(np.array(COLOURS, np.uint8)[numbers]).quantize(3)


def ramp(numbers):
    image = Image.fromarray(numbers)
    image.putpalette(np.arange(256, dtype=np.uint8).repeat(3).tolist())
    return image


def coloured(numbers):
    return Image.fromarray(np.array([*COLOURS, *[(0, 0, 0)] * 253], np.uint8)[numbers])


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
    """Three pairs; the labels are indexed, each with a palette in another order."""
    rng = np.random.default_rng(0)
    for part in ("images", "labels"):
        (tmp_path / part).mkdir()
    for number, order in enumerate([(0, 1, 2), (2, 0, 1), (1, 2, 0)]):
        Image.fromarray(rng.integers(0, 255, (30, 48, 3), np.uint8)).save(tmp_path / f"images/{number}.png")
        indexed(VOID, COLOURS, order).save(tmp_path / f"labels/{number}.png")
    return tmp_path


def audit(folder, classes=NAMES, colours=COLOURS, **more):
    return audit_image_labels(folder / "images", folder / "labels", classes, colours, **more)


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


class TestFolders:
    def build(self, folder, **more):
        return ImageLabelDataset(str(folder), {"classes": NAMES, "palette": COLOURS}, pipeline=PIPELINE, **more)

    @pytest.mark.remedy("Nothing to do if they are not data")
    def test_converted_hidden_and_other_files_are_left_out_and_counted(self, folder):
        for name in ("0_labelTrainIds.png", "1.color.png", "._0.png", ".ipynb_checkpoints/0-checkpoint.png", "a.json"):
            path = folder / "labels" / name
            path.parent.mkdir(exist_ok=True)
            path.write_bytes((folder / "labels/0.png").read_bytes())
        assert len(self.build(folder)) == 3
        result = audit(folder)
        assert (result.problems, result.counts["all"]) == ([], 3)
        assert result.notes[0].remedy == "Nothing to do if they are not data"
        assert result.notes[0].what == (
            "left out 5 files: 2 hidden by their name (such as ._0.png), 1 of another name (such as a.json), "
            f"2 converted from the label beside it (such as {folder / 'labels/0_labelTrainIds.png'})"
        )

    def test_a_label_whose_image_is_missing_is_none_that_was_converted(self, folder):
        (folder / "labels/0.png").rename(folder / "labels/0_1.png")
        with pytest.raises(DataError, match=r"0\.png: no label for this image.*the first of 2 such faults"):
            self.build(folder)

    def test_suffixes_in_upper_case_and_subfolders_are_found(self, folder):
        (folder / "images/town").mkdir()
        (folder / "labels/town").mkdir()
        (folder / "images/0.png").rename(folder / "images/town/0.PNG")
        (folder / "labels/0.png").rename(folder / "labels/town/0.Png")
        assert len(self.build(folder)) == 3
        assert audit(folder).problems == []

    @pytest.mark.parametrize("name", ["0.PNG", "0.jpg"])
    def test_names_that_differ_in_suffix_or_case_alone_are_a_fault(self, folder, name):
        Image.open(folder / "images/0.png").save(folder / "images" / name)
        with pytest.raises(DataError, match="has the name of .*, except for the suffix or for upper and lower case"):
            self.build(folder)
        if name == "0.jpg":  # the remedy
            assert len(self.build(folder, img_suffix=".png")) == 3

    def test_a_folder_may_mix_suffixes(self, folder):
        for path, suffix in ((folder / "images/0.png", ".jpg"), (folder / "images/1.png", ".TIF")):
            Image.open(path).save(path.with_suffix(suffix))
            path.unlink()
        Image.open(folder / "labels/2.png").save(folder / "labels/2.bmp")
        (folder / "labels/2.png").unlink()
        data = self.build(folder)
        assert [Path(data.get_data_info(index)["img_path"]).suffix for index in range(3)] == [".jpg", ".TIF", ".png"]
        assert audit(folder).problems == []
        assert len(self.build(folder, img_suffix=(".jpg", ".tif"), on_bad_sample="skip")) == 2

    def test_images_and_labels_in_one_folder_need_their_suffixes(self, folder):
        for path in (folder / "labels").iterdir():
            path.rename(folder / "images" / f"{path.stem}_mask.png")
        prefix = {"img_path": "images", "seg_map_path": "images"}
        with pytest.raises(
            DataError, match="holds both the images and the labels, and the same suffix stands for both"
        ):
            self.build(folder, data_prefix=prefix)
        apart = {"img_suffix": (".jpg", ".tif"), "seg_map_suffix": "_mask.png"}
        for number in range(3):
            Image.open(folder / f"images/{number}.png").save(folder / f"images/{number}.jpg")
            (folder / f"images/{number}.png").unlink()
        assert len(self.build(folder, data_prefix=prefix, **apart)) == 3

    @pytest.mark.remedy("{}. `gcisg audit` lists every fault")
    def test_files_without_a_partner_are_skipped_where_told(self, folder):
        (folder / "labels/0.png").unlink()
        (folder / "images/1.png").unlink()
        with pytest.raises(DataError, match="the first of 2 such faults.*`gcisg audit` lists every fault"):
            self.build(folder)
        listed = gcisg("audit", "--dataset", "pairs", "--root", folder, "--num-classes", 3, "--workers", 1).out
        assert all(f"{folder}/images/{said}" in listed for said in ("0.png: no label for this", "1.*: image missing"))
        assert len(self.build(folder, on_bad_sample="skip")) == 1
        (folder / "labels/2.png").unlink()
        (folder / "images/2.png").unlink()
        with pytest.raises(DataError):
            self.build(folder, on_bad_sample="skip")

    @pytest.mark.remedy("on_bad_sample='skip' is for training; fix or remove bad pairs before evaluating")
    @pytest.mark.remedy("in training, on_bad_sample='skip' skips it")
    def test_bad_pairs_are_replaced_where_told(self, folder):
        Image.fromarray(np.zeros((5, 5), np.uint8)).save(folder / "labels/1.png")
        with pytest.raises(DataError, match="on_bad_sample='skip'"):
            self.build(folder)[1]
        sample = self.build(folder, on_bad_sample="skip")[1]["data_samples"]
        assert sample.seg_map_path.endswith(("0.png", "2.png"))
        with pytest.raises(ValueError, match="before evaluating"):
            self.build(folder, on_bad_sample="skip", test_mode=True)
        for part in ("images", "labels"):
            (folder / part / "1.png").unlink()
        evaluated = self.build(folder, test_mode=True)
        assert [evaluated[index]["data_samples"].seg_map_path[-5:] for index in range(2)] == ["0.png", "2.png"]

    def test_a_list_as_windows_writes_it_selects_pairs(self, folder):
        (folder / "list.txt").write_bytes("\ufeff0\r\n2\r\n".encode())
        assert len(self.build(folder, ann_file="list.txt")) == 2

    def test_classes_without_colours_have_some_to_show(self, folder):
        dataset = ImageLabelDataset(str(folder), {"classes": NAMES, "palette": None}, pipeline=PIPELINE)
        assert torch.tensor(dataset.metainfo["palette"]).shape == (3, 3)
        assert dataset.rule.colours is None

    @pytest.mark.parametrize("mode", ["L", "RGB"])
    def test_jpeg_labels_are_refused_under_any_suffix(self, folder, mode):
        (folder / "labels/1.png").unlink()
        label = Image.fromarray(VOID) if mode == "L" else coloured(VOID)
        label.save(folder / f"labels/1.{'jpg' if mode == 'L' else 'png'}", format="JPEG", quality=95)
        (problem,) = audit(folder).problems
        assert problem.what == "is a JPEG, whose compression changes label values"
        with pytest.raises(DataError) as raised:
            self.build(folder)[1]
        assert raised.value.problem.what == problem.what
        assert "Export the labels as PNG" in problem.remedy
        assert "Export the labels as PNG" in raised.value.problem.remedy
