"""The page of results says what the runs say."""

import itertools
import math
import re
import shutil
import statistics

import numpy as np
import pytest
import yaml
from PIL import Image
from scipy import stats

from gcisg_suite.sweep import overview, results
from gcisg_suite.sweep.overview import Gains
from gcisg_suite.sweep.sweep import finished_runs, interval
from gcisg_suite.sweep.variants import read_sweep
from tests.documents import ROOT
from tests.kept_runs import write_sweep

CONTENT = yaml.safe_load((ROOT / "docs/results.yml").read_text(encoding="utf-8"))
SECTIONS = CONTENT["sections"]
NUMBER = r"[+-]\d+\.\d+"


def test_page_and_plots_are_what_the_tool_writes():
    page = (ROOT / "docs/results.md").read_text(encoding="utf-8")
    assert results.contents(**CONTENT) == page, "python tools/results_write.py"
    shown = {f"docs/{file}" for file in re.findall(r"!\[.*?\]\((.*?)\)", page)}
    assert {str(path.relative_to(ROOT)) for path in (ROOT / "docs/results").glob("*.png")} == shown


def test_sections_name_variants_of_their_sweeps():
    for section in SECTIONS:
        variants = read_sweep(ROOT / section["sweep"])[1].keys()
        assert {*section.get("rows", []), *section.get("paper", {})} <= variants, section["title"]


def test_differences_in_the_texts_are_those_of_the_runs():
    """Of the README's verdict and of the page: mean and interval of some pair of variants of the same task."""
    readme = (ROOT / "README.md").read_text(encoding="utf-8").partition("## Does it help?")[2].partition("\n## ")[0]
    known = [difference for task in METRICS for difference in differences_of(task)]
    for text, fewest in ((readme, 10), (" ".join(section["text"] for section in SECTIONS), 10)):
        one = r"([+-]?\d+\.\d) \[([+-]\d+\.\d), ([+-]\d+\.\d)\]"
        said = [[float(part) for part in found] for found in re.findall(one, " ".join(text.split()))]
        assert len(said) >= fewest
        for figures in said:
            assert any(figures == pytest.approx(difference, abs=0.0501) for difference in known), figures
    ours = readme.partition("- The papers report")[0]
    means = [sum(values) / len(values) for task in METRICS for values in map(dict.values, values_of(task).values())]
    levels = [float(level) for level in re.findall(r"(?<![\d.+-])\d\d\.\d(?!\d)", ours)]
    assert len(levels) >= 6
    for level in levels:
        assert any(level == pytest.approx(mean, abs=0.0501) for mean in means), level


METRICS = {"classification": "accuracy", "segmentation": "mIoU", "detection": "AP"}


def values_of(task):
    """Variant -> seed -> value on test."""
    values = {}
    for run in finished_runs(ROOT / f"projects/{task}/sweeps/methods.yaml", "test")[1]:
        values.setdefault(run["variant"], {})[run["seed"]] = run["test"][METRICS[task]]
    return values


def differences_of(task):
    """Mean and interval of each pair of variants."""
    for one, other in itertools.permutations(values_of(task).values(), 2):
        pairs = np.array([one[seed] - other[seed] for seed in one.keys() & other.keys()])
        yield pairs.mean(), *interval(pairs)


VALUES = {  # variant -> its value at each seed; of a network where there is a comma
    "vanilla": [10.0, 12.5, 11.0],
    "oracle": [30.25, 31.0, 33.5],
    "CI": [10.5, 12.0, 11.5],
    "GCISG, paper": [9.0, 10.0],
    "vanilla, other": [20.0, 21.0, 22.5],
    "oracle, other": [29.0, 33.0, 30.0],
}
KEPT = {"classification": None, "segmentation": ["vanilla", "CI"], "detection": []}  # None: all
BY_HAND = """
introduction: What all share.
overview: {methods: [oracle, CI, "GCISG, paper"], table: [oracle, CI], text: Points over vanilla.}
sections:
  - {title: All, sweep: projects/classification/sweeps/methods.yaml, split: test, text: Said of it.,
     metric: the paper's, paper: {oracle: 77.7}}
  - {title: Two, sweep: projects/classification/sweeps/methods.yaml, split: test, text: "", rows: [vanilla, CI]}
  - {title: Plain, sweep: projects/segmentation/sweeps/methods.yaml, split: test, text: "", compare: false}
  - {title: None, sweep: projects/detection/sweeps/methods.yaml, split: test, text: ""}
  - title: Networks
    sweep: projects/classification/sweeps/others.yaml
    split: test
    text: ""
    networks:
      sweep: projects/classification/sweeps/methods.yaml
      rows: [vanilla, oracle]
      differences: [[oracle, vanilla]]
"""


@pytest.fixture(scope="module")
def written(tmp_path_factory):
    """A page of runs made by hand: the folder, and title -> its part of the page."""
    folder = tmp_path_factory.mktemp("by hand")
    plain = {name: values for name, values in VALUES.items() if not name.endswith("other")}
    for task, kept in KEPT.items():
        write_sweep(folder, task, "methods", plain, kept)
    write_sweep(folder, "classification", "others", {name: VALUES[name] for name in VALUES if name not in plain})
    (folder / "docs/results").mkdir(parents=True)
    (folder / "docs/results.yml").write_text(BY_HAND)
    results.write(folder)
    page = (folder / "docs/results.md").read_text()
    return folder, dict(part.split("\n", 1) for part in re.split(r"^#+ ", page, flags=re.M)[1:])


def rows_of(text):
    table = [[cell.strip() for cell in line.split("|")[1:-1]] for line in text.splitlines() if line.startswith("|")]
    return {row[0]: row[1:] for row in table[2:]}


def expected(*differences):
    """Mean and ends of the interval."""
    mean = statistics.mean(differences)
    half = stats.t.ppf(0.975, len(differences) - 1) * statistics.stdev(differences) / math.sqrt(len(differences))
    return pytest.approx([mean, mean - half, mean + half], abs=0.0051)


def numbers(text):
    return [float(number) for number in re.findall(NUMBER, text)]


def against_vanilla(name):
    return [value - plain for value, plain in zip(VALUES[name], VALUES["vanilla"], strict=False)]


def test_the_page_opens_with_all_methods_in_all_tasks(written):
    folder, parts = written
    title, text = next(iter(parts.items()))
    assert title == "Results"
    assert text.strip().startswith("Points over vanilla.\n\n![")
    assert re.search(r"\| method +\| classification, accuracy, 3 seeds +\| segmentation, mIoU, 3 seeds +\|", text)
    rows = rows_of(text)
    assert list(rows) == ["oracle", "CI"]
    for name, (classification, segmentation, detection) in rows.items():
        assert numbers(classification) == expected(*against_vanilla(name))
        assert classification.endswith("]")  # as many seeds as vanilla, which the heading says
        assert (segmentation == classification) == (name == "CI")
        assert detection == ""
    with Image.open(folder / "docs/results/overview.png") as image:
        assert abs(image.width - 1000) < 5


def test_a_task_without_the_pages_methods_is_drawn_empty(tmp_path):
    vanilla = np.array([10.0, 11.0])
    gained = {"CI": vanilla - 9}
    overview.draw_gains(["CI"], [Gains(*named, vanilla, of) for *named, of in (("a", "AP", gained), ("b", "AP", {}))],
                        tmp_path / "gains.png")  # fmt: skip
    with Image.open(tmp_path / "gains.png") as image:
        assert image.width > image.height


def test_a_section_has_means_spreads_and_differences_to_the_first_row(written):
    rows = rows_of(written[1]["All"])
    assert list(rows) == ["vanilla", "oracle", "CI", "GCISG, paper"]
    for name, (seeds, value, difference) in rows.items():
        values = VALUES[name]
        assert int(seeds) == len(values)
        assert [float(part) for part in value.split(" ± ")] == pytest.approx(
            [statistics.mean(values), statistics.stdev(values)], abs=0.0051
        )
        assert difference == "+0.00" if name == "vanilla" else numbers(difference) == expected(*against_vanilla(name))


def test_papers_figures_stand_in_no_row(written):
    text = written[1]["All"]
    assert "For comparison, the paper's: oracle 77.7." in text
    assert "77.7" not in str(rows_of(text))
    assert "Said of it." in text
    command = "python tools/sweep.py --sweep projects/classification/sweeps/methods.yaml --seeds 0-2 --split test"
    assert text.strip().endswith(f"To run it again: `{command}`")


def test_sections_of_some_rows_without_comparison_and_without_runs(written):
    folder, parts = written
    assert list(rows_of(parts["Two"])) == ["vanilla", "CI"]
    assert "![" not in parts["Two"]
    assert len(rows_of(parts["All"])["CI"]) == 3
    assert len(rows_of(parts["Plain"])["CI"]) == 2
    (missing,) = parts["Not run yet"].strip().splitlines()[2:]
    assert [cell.strip() for cell in missing.strip("|").split("|")] == [
        "None",
        "`python tools/sweep.py --sweep projects/detection/sweeps/methods.yaml --split test`",
    ]
    assert "None" not in parts
    drawn = {path.stem for path in (folder / "docs/results").glob("*.png")}
    assert drawn == {"overview", "classification_methods", "segmentation_methods", "classification_others"}


def test_differences_over_networks(written):
    (*means, over_all) = rows_of(written[1]["Networks"])["oracle - vanilla"]
    asked = [
        statistics.mean(a - b for a, b in zip(VALUES[f"oracle{end}"], VALUES[f"vanilla{end}"], strict=True))
        for end in ("", ", other")
    ]
    assert [float(mean) for mean in means] == pytest.approx(asked, abs=0.0051)
    assert numbers(over_all) == expected(*asked)


def test_without_vanilla_there_is_no_gain_and_an_unknown_method_is_named(written, tmp_path):
    shutil.copytree(written[0], tmp_path, dirs_exist_ok=True)
    write_sweep(tmp_path, "segmentation", "methods", VALUES, ["oracle", "CI"])
    content = yaml.safe_load(BY_HAND)
    page = results.contents(**content, root=tmp_path)
    assert rows_of(page.partition("##")[0])["CI"][1] == ""
    for part in ("methods", "table"):
        misspelt = {**content, "overview": {**content["overview"], part: ["orcale"]}}
        with pytest.raises(ValueError, match="Did you mean 'oracle'"):
            results.contents(**misspelt, root=tmp_path)
