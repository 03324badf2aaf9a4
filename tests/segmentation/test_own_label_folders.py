"""Folders with images and label images of your own: which files are pairs, and what is said of the others."""

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from gcisg_core.problems import DataError
from gcisg_seg.datasets import ImageLabelDataset
from tests.command import gcisg
from tests.segmentation.label_files import COLOURS, NAMES, PIPELINE, VOID, audit, coloured, write_pairs


@pytest.fixture
def folder(tmp_path):
    return write_pairs(tmp_path)


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
