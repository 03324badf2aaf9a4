"""Which masks a mask head is given, and what becomes of boxes without one."""

import numpy as np
import pytest

from gcisg_core.problems import DataError
from gcisg_suite.coco.findings import Level
from tests.coco.files import lines, make, read


class TestMasks:
    """A box stays without a mask head; with one it needs a mask."""

    bad = ([], [[]], None, [[5, 4, 41, 34]], [[1, 2, 3, 4, 5]], [[1, 2, float("nan"), 4, 5, 6]], [5], "x",
           {"counts": 3}, {"size": [64, 96], "counts": [5, 5]}, {"size": [96, 64], "counts": [64 * 96]},
           {"size": [64, 96], "counts": "zz"}, {"size": [64, 96], "counts": [True, 6143]})  # fmt: skip

    @pytest.mark.parametrize("mask", bad)
    def test_without_a_mask_head_each_box_stays(self, tmp_path, content, mask):
        content["annotations"][0]["segmentation"] = mask
        data = read(tmp_path, content)
        assert len(data.annotations) == 3
        assert not any("segmentation" in item for item in data.annotations)
        notes = [line for line in lines(data, Level.REPAIRED) if "masks that cannot be used" in line]
        assert len(notes) == bool(mask)

    @pytest.mark.parametrize("mask", bad)
    @pytest.mark.parametrize("form", ["polygon", "bitmask"])
    def test_with_a_mask_head_a_box_without_a_mask_is_left_out(self, tmp_path, content, mask, form):
        content["annotations"][0]["segmentation"] = mask
        data = read(tmp_path, content, masks=form)
        assert [item["id"] for item in data.annotations] == [2, 3]
        assert [line.split(":")[0] for line in lines(data, Level.LEFT_OUT)] == [
            "annotations without a usable mask, left out"
        ]

    @pytest.mark.parametrize("compressed", [False, True])
    def test_run_lengths_are_for_bitmasks(self, tmp_path, content, compressed):
        pycocotools = pytest.importorskip("pycocotools.mask")
        drawn = np.asfortranarray(np.random.default_rng(0).random((64, 96)) < 0.3, dtype=np.uint8)
        encoded = pycocotools.encode(drawn)
        flat = drawn.ravel("F")
        ends = np.flatnonzero(np.diff(np.concatenate([[0], flat]))).tolist()
        counts = np.diff([0, *ends, flat.size]).tolist()
        rle = {"size": [64, 96], "counts": encoded["counts"].decode() if compressed else counts}
        content["annotations"][0]["segmentation"] = rle
        assert read(tmp_path, content, masks="bitmask").annotations[0]["segmentation"] == rle
        with pytest.raises(DataError, match=r"run lengths .RLE., where INPUT.MASK_FORMAT is polygon: 1.*bitmask"):
            read(tmp_path, content, masks="polygon")

    def test_a_single_polygon_that_is_not_in_a_list_is_taken(self, tmp_path, content):
        content["annotations"][0]["segmentation"] = content["annotations"][0]["segmentation"][0]
        expected = make()["annotations"][0]["segmentation"]
        assert read(tmp_path, content, masks="polygon").annotations[0]["segmentation"] == expected
