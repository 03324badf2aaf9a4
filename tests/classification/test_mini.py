"""The miniature's own code: a measured run, the demonstration's report."""

import html.parser
import json

import pytest

from gcisg_cls import demo
from gcisg_cls.mini import PROJECT, train_and_evaluate
from gcisg_cls.model_metrics import train_and_test
from gcisg_suite.report.page import write_report

from .conftest import CLASSES, TINY


class Page(html.parser.HTMLParser):
    """The cells and pictures of a page, and whatever it would fetch."""

    def __init__(self, text):
        super().__init__()
        self.cells, self.pictures, self.external, self.tag = [], [], [], ""
        self.feed(text)

    def handle_starttag(self, tag, attributes):
        self.tag = tag
        address = dict(attributes).get("src") or dict(attributes).get("href") or ""
        if tag == "img":
            self.pictures.append(address)
        if address and not address.startswith("data:"):
            self.external.append(address)

    def handle_data(self, data):
        if self.tag in ("td", "th") and data.strip():
            self.cells.append(data.strip())


def test_a_finished_run_is_measured_once(mini):
    work_dir = mini / "run"
    first = train_and_evaluate("baseline_mini", ["dev", "test"], work_dir, TINY)
    assert first["dev"].keys() >= {"accuracy", "match_rate", "cka", "acc_in", "energy_0"}
    assert all(0 <= first["test"][key] <= 100 for key in ("accuracy", "match_rate", "acc_in"))
    stamp = (work_dir / "iter_6.pth").stat().st_mtime_ns
    assert train_and_evaluate("baseline_mini", ["dev", "test"], work_dir, TINY) == first
    assert (work_dir / "iter_6.pth").stat().st_mtime_ns == stamp


def test_any_config_is_trained_and_measured_on_its_test_set(mini):
    """Without the pretraining's images there is no accuracy on them."""
    file = PROJECT / "baseline_mini.py"
    result = train_and_test(file, mini / "first", TINY, 0)
    assert result["test"].keys() >= {"accuracy", "match_rate", "cka"}
    assert "acc_in" not in result["test"]
    (mini / "data/mini/classification/reference").rename(mini / "data/imagenet")
    assert train_and_test(file, mini / "first", TINY, 0)["test"].keys() == {*result["test"], "acc_in"}


def test_the_demonstration_writes_its_report(mini):
    section = demo.classification_section(mini / "runs", TINY)
    page = Page(write_report(mini / "report.html", "A report", [section]).read_text())
    assert page.cells[:4] == ["metric", "baseline", "GCISG", "gain"]
    results = [
        json.loads((mini / f"runs/{name}_mini/result.json").read_text())["test"] for name in ("baseline", "gcisg")
    ]
    for label, key in (
        ("accuracy %", "accuracy"),
        ("match rate %", "match_rate"),
        ("Acc_IN %", "acc_in"),
        ("CKA", "cka"),
    ):
        row = page.cells[page.cells.index(label) + 1 :][:3]
        baseline, gcisg = (result[key] for result in results)
        assert [float(cell) for cell in row] == pytest.approx([baseline, gcisg, gcisg - baseline], abs=0.005)
    assert len(page.pictures) == 2
    assert not page.external
    figures = [picture.figure for picture in section.pictures]
    assert len(figures[0].axes[0].lines) == 2  # a curve of the task loss for each of the two runs
    titles = {axis.get_title().strip("✓✗ ") for axis in figures[1].axes}
    assert titles <= set(CLASSES)
