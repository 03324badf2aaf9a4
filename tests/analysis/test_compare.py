import math

import pytest
from scipy import stats

from gcisg_core.model_metrics import ModelMetrics
from gcisg_suite.analysis.analyze import Checkpoint, labels_of
from gcisg_suite.analysis.compare import difference, over_images, over_seeds, paired
from gcisg_suite.analysis.page import metric_rows, missing

FIRST, LATER = [60.0, 62.0, 61.0, 65.0], [63.0, 64.5, 63.0, 69.0]


def test_pairs_equal_scipys_paired_test():
    interval = stats.ttest_rel(LATER, FIRST).confidence_interval(0.95)
    assert paired(LATER, FIRST) == pytest.approx(
        {"difference": 2.875, "low": interval.low, "high": interval.high, "pairs": 4}
    )


def test_pairs_without_a_value_are_left_out():
    assert paired([*LATER, math.nan, 3.0], [*FIRST, 4.0, math.nan]) == paired(LATER, FIRST)
    assert paired([1.0, math.nan], [2.0, 3.0]) == "1 pairs; an interval needs at least 2"


def test_equal_differences_have_an_interval_of_no_width():
    assert paired([2.0, 3.0], [1.0, 2.0]) == {"difference": 1, "low": 1, "high": 1, "pairs": 2}


def test_a_difference_of_what_has_no_number_says_why():
    later = {"a": 3.0, "b": "no head", "c": 1.0, "d": 2.0, "d_error": 0.1}
    first = {"a": 1.0, "b": 2.0, "c": "no image", "d": 2.0, "d_error": 0.1}
    assert difference(later, first) == {"a": 2.0, "b": "no head", "c": "no image", "d": 0.0}


def test_images_are_compared_in_points_of_per_cent():
    first = ModelMetrics(match=[1.0, 0.0, 1.0], score=[0.5, 0.5, 0.5])
    later = ModelMetrics(match=[1.0, 1.0, 1.0], score=[])
    result = over_images(later, first)
    assert result["match_rate"]["difference"] == pytest.approx(100 / 3)
    assert result["score"] == "no value for each image"


def test_the_kth_of_one_name_meets_the_kth_of_another():
    names = ["a", "b", "a", "b", "a", "b", "a", "b"]
    runs = [{"mIoU": value} for pair in zip(FIRST, LATER, strict=True) for value in pair]
    assert over_seeds(names, runs) == {"b": {"mIoU": paired(LATER, FIRST)}}
    assert labels_of([Checkpoint(name, "") for name in names[:4]]) == ["a #0", "b #0", "a #1", "b #1"]
    assert labels_of([Checkpoint("a", ""), Checkpoint("b", "")]) == ["a", "b"]


@pytest.mark.remedy("{} and {} checkpoints; give the same number for each name")
def test_seeds_without_a_partner_are_said():
    assert over_seeds(["a", "a", "b"], [{"x": 1.0}] * 3) == {
        "b": {"all": "1 and 2 checkpoints; give the same number for each name"}
    }
    assert "x" in over_seeds(["a", "a", "b", "b"], [{"x": value} for value in (1.0, 2.0, 3.0, 5.0)])["b"]
    assert over_seeds(["a", "b"], [{"x": 1.0}] * 2) == {}
    assert over_seeds(["a", "a", "b", "b"], [{"x": 1.0}, {"x": "why"}] * 2) == {"b": {"x": "why"}}


def test_the_table_has_numbers_and_a_note_has_the_reasons():
    columns = {"reference": {"a": "no head", "b": "no head", "c": 1.0}, "ours": {"a": 2.0, "b": 3.0, "c": "no image"}}
    heads = {"a": "A %", "b": "B", "c": "C"}
    rows = metric_rows(columns, heads, {"ours - plain": {"a": -0.001, "b": "no head"}})
    assert rows == [["A %", "-", "2.00", "+0.00"], ["B", "-", "3.00", "-"], ["C", "1.00", "-", "-"]]
    assert missing(columns, heads) == "No A; B (reference): no head. No C (ours): no image."
    assert missing({"ours": {"a": "no head"}}, heads) == "No A: no head."
