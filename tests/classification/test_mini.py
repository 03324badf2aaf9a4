"""The miniature's own code: a measured run, the demonstration's report."""

import html.parser
import json
from functools import partial

import pytest
from PIL import Image

from gcisg_cls import demo
from gcisg_cls.differences import differences
from gcisg_cls.mini import PROJECT, train_and_evaluate
from gcisg_cls.model_metrics import train_and_test
from gcisg_cls.views import EvalView
from gcisg_core.problems import DataError
from gcisg_seg.mini import MiniResNetBackbone
from gcisg_suite.miniature import classification, folders
from gcisg_suite.report.demonstration import read_both
from gcisg_suite.zoo import zoo
from tests.command import gcisg

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


@pytest.mark.remedy("Make the miniature's data: gcisg prepare", "Make the miniature: gcisg prepare")
@pytest.mark.remedy("{} does not exist (gcisg prepare)", "made by another version, make them again: gcisg prepare")
def test_the_miniature_is_made_where_it_is_missing(tmp_path, monkeypatch):
    """A smaller one."""
    monkeypatch.setenv("GCISG_DATA", str(tmp_path / "data"))
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(folders, "in_parallel", map)  # processes would cost more than they do
    digits = classification.real_digits
    monkeypatch.setattr(classification, "real_digits", lambda split: [part[::6] for part in digits(split)])
    counts = {"prepare_source": {"per_class": 4}, "prepare_target": {"composites": 1},
              "prepare_reference": {"per_class": 2, "val_per_class": 1}}  # fmt: skip
    for name, count in counts.items():
        monkeypatch.setattr(classification, name, partial(getattr(classification, name), **count))
    short = ["train_cfg.max_iters=2", "train_cfg.val_interval=2"]
    train = ["train", "--config", PROJECT / "baseline_mini.py", "--output", "run", *short]
    model = zoo.choose_model("classification/gcisg_mini")
    backbone = MiniResNetBackbone(weights=str(tmp_path / "data/mini/reference.pth"))

    assert "Make the miniature's data: gcisg prepare" in gcisg(*train).err
    assert zoo.verify(zoo.zoo_folder(), model).endswith("does not exist (gcisg prepare)")
    with pytest.raises(FileNotFoundError, match="Make the miniature: gcisg prepare"):
        backbone.init_weights()
    assert gcisg("prepare", "--tasks", "classification").code == 0
    assert gcisg(*train).code == 0
    backbone.init_weights()
    model["Checkpoint"]["Metrics"]["accuracy/mean_class"] += 50  # of other data
    with pytest.raises(DataError, match=r"accuracy/mean_class is .* If the data were made by another version, make"):
        zoo.verify(zoo.zoo_folder(), model)
    recipe = tmp_path / "data/mini/classification/test/recipe.json"
    recipe.write_text((made := recipe.read_text()).replace('"version": ', '"version": 9'))
    assert gcisg("prepare", "--tasks", "classification").code == 0
    assert recipe.read_text() == made


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


@pytest.mark.remedy("{}: no such file. Run gcisg demo first")
def test_the_demonstration_writes_its_report(mini, monkeypatch):
    sections, whole = [], demo.classification_section
    monkeypatch.setattr("gcisg_suite.demo.prepare", lambda tasks: None)  # the images are there, fewer of them
    monkeypatch.setattr(demo, "classification_section", lambda runs: sections.append(whole(runs, TINY)) or sections[-1])
    monkeypatch.chdir(mini)
    said = gcisg("demo", "--tasks", "classification", "--picture", "a picture.png")
    page, section = Page((mini / "runs/demo/report.html").read_text()), sections[0]
    assert "Report: runs/demo/report.html" in said.out
    assert section.verdicts[0] in said.out
    assert page.cells[:4] == ["metric", "baseline", "GCISG", "gain"]
    results = [
        json.loads((mini / f"runs/demo/classification/{name}_mini/result.json").read_text())["test"]
        for name in ("baseline", "gcisg")
    ]
    for label, key in (
        ("accuracy %", "accuracy"),
        ("match rate %", "match_rate"),
        ("Acc_IN %", "acc_in"),
        ("CKA", "cka"),
    ):
        row = page.cells[page.cells.index(label) + 1 :][:3]
        first, second = (result[key] for result in results)
        assert [float(cell) for cell in row] == pytest.approx([first, second, second - first], abs=0.005)
    assert len(page.pictures) == 2
    assert not page.external
    figures = [picture.figure for picture in section.pictures]
    assert len(figures[0].axes[0].lines) == 2  # a curve of the task loss for each of the two runs
    assert section.pictures[1].caption.endswith("From the miniature's test split, like the table.")
    first = EvalView(64)(Image.open(mini / "data/mini/classification/test/bird/0.png")).permute(1, 2, 0).numpy() / 255
    assert (figures[1].axes[0].images[0].get_array() == first).all()
    titles = {axis.get_title().strip("✓✗ ") for axis in figures[1].axes}
    assert titles <= set(CLASSES)

    compared = differences(read_both(mini / "runs/demo/classification"))
    assert (100 * compared.right.mean(axis=0)).tolist() == pytest.approx([result["overall"] for result in results])
    assert "Picture: a picture.png" in said.out
    with Image.open(mini / "a picture.png") as picture:
        assert picture.width == 1000
