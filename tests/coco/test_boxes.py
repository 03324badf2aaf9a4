"""Whether four numbers are a corner and a size, or two corners."""

import pytest

from gcisg_core.problems import DataError
from gcisg_suite.coco.findings import Level
from tests.coco.files import corners, each, lines, make, read, without


class TestCorners:
    """[x1, y1, x2, y2] in place of [x, y, width, height]."""

    near = ((5, 4, 36, 30), (8, 6, 36, 30), (11, 8, 36, 30))  # fit their images both ways

    def test_where_both_readings_fit_the_area_decides(self, tmp_path):
        content = make(self.near)
        without("segmentation")(content)
        assert [*read(tmp_path, content).findings] == []
        each("bbox", corners)(content)
        data = read(tmp_path, content)
        assert [item["bbox"] for item in data.annotations] == [list(box) for box in self.near]
        assert any("read as such" in line for line in lines(data, Level.REPAIRED))

    def test_where_both_readings_fit_the_outline_decides(self, tmp_path):
        content = make(self.near)
        each("area", 400)(content)  # of a mask
        assert [*read(tmp_path, content).findings] == []
        each("bbox", corners)(content)
        data = read(tmp_path, content)
        assert [item["bbox"] for item in data.annotations] == [list(box) for box in self.near]

    def test_a_mask_whose_area_fits_the_corners_by_chance_decides_nothing(self, tmp_path):
        content = make(self.near)
        without("segmentation")(content)
        each("area", 400)(content)
        x1, y1, x2, y2 = self.near[0]
        content["annotations"][0]["area"] = (x2 - x1) * (y2 - y1)
        data = read(tmp_path, content)
        assert [item["bbox"] for item in data.annotations] == [list(box) for box in self.near]

    def test_where_nothing_decides_the_formats_reading_is_taken_aloud(self, tmp_path):
        content = make(self.near)
        without("area")(content)
        without("segmentation")(content)
        data = read(tmp_path, content)
        assert [item["bbox"] for item in data.annotations] == [list(box) for box in self.near]
        (line,) = (line for line in lines(data, Level.REPAIRED) if "as corners, read as the first" in line)
        assert line.startswith(
            "boxes that fit their images as [x, y, width, height] and as corners, read as the first: 3"
        )

    def test_where_one_box_fits_as_corners_alone_and_nothing_decides_it_is_refused(self, tmp_path):
        content = make([*self.near[:2], (50, 20, 60, 40)])
        without("area")(content)
        without("segmentation")(content)
        with pytest.raises(DataError, match=r"own.json: boxes that may be .*1 of 3 boxes reach outside as .*bbox"):
            read(tmp_path, content)

    def test_where_most_boxes_fit_as_corners_alone_they_are_even_if_their_area_is_of_the_wrong_reading(self, tmp_path):
        content = make([(40, 20, 80, 60)] * 3)  # its area is 80 * 60
        without("segmentation")(content)
        data = read(tmp_path, content)
        assert [(item["bbox"], item["area"]) for item in data.annotations] == [([40, 20, 40, 40], 1600)] * 3
        assert "3 of 3 boxes reach outside as [x, y, width, height], 0 as corners" in lines(data, Level.REPAIRED)[0]
