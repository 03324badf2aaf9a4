"""docs/models.md: it is what its data say, the data are of today's families, and one of them is run again."""

from __future__ import annotations

import mmseg
import pytest

from tests import families


def test_the_page_is_what_the_data_say():
    data = families.read()
    assert families.PAGE.read_text() == families.page(data), "run: python -m tests.families"
    for task, names in families.known().items():
        assert [*data[task]] == [name for name in names if name in data[task]], f"mmseg {mmseg.__version__}"
    assert all(value for rows in data.values() for said in rows.values() for value in said.values())


@pytest.mark.parametrize(("task", "name"), [("segmentation", "segmenter_vit-b16_mask"), ("detection", "RetinaNet")])
def test_a_family_does_what_the_page_says(task, name, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert families.take(task, name, tmp_path) == families.read()[task][name] == dict.fromkeys(families.STEPS, "yes")
