"""The page of results says what the runs say."""

import json
import math
import re
import statistics

import pytest
import yaml
from PIL import Image
from scipy import stats

from gcisg_suite.sweep import results as results_write
from gcisg_suite.tasks import TASKS
from tests.documents import ROOT

CONTENT = yaml.safe_load((ROOT / "docs/results.yml").read_text(encoding="utf-8"))
PAGE = (ROOT / "docs/results.md").read_text(encoding="utf-8")
SECTIONS = CONTENT["sections"]


def test_page_is_what_the_tool_writes():
    assert results_write.contents(**CONTENT) == PAGE, "python tools/results_write.py"


@pytest.mark.parametrize("section", SECTIONS, ids=[section["title"] for section in SECTIONS])
def test_figures_follow_from_the_runs(section):
    grid = ROOT / section["sweep"]
    lines = grid.with_name(f"{grid.stem}_{section['split']}.jsonl").read_text().splitlines()
    metric = TASKS[grid.parents[1].name].metrics[0]
    runs = {}
    for run in map(json.loads, lines):
        runs.setdefault(run["variant"], {})[run["seed"]] = run[section["split"]][metric]
    text = PAGE.partition(f"## {section['title']}\n")[2].partition("\n## ")[0]
    table = text.strip().partition("\n\n")[0].splitlines()
    rows = [[cell.strip() for cell in line.split("|")[1:-1]] for line in table[2:]]
    assert {row[0] for row in rows} <= runs.keys()
    first = runs[rows[0][0]]
    for row in rows:
        values = runs[row[0]]
        assert int(row[1]) == len(values)
        assert float(row[2].partition(" ")[0]) == pytest.approx(statistics.mean(values.values()), abs=0.0051)
        (interval,) = [cell for cell in row[1:] if "[" in cell] or [""]
        common = sorted(values.keys() & first.keys())
        if interval:
            differences = [values[seed] - first[seed] for seed in common]
            half = stats.t.ppf(0.975, len(common) - 1) * statistics.stdev(differences) / math.sqrt(len(common))
            low, high = map(float, re.findall(r"[+-]\d+\.\d+", interval)[1:])
            assert (high - low) / 2 == pytest.approx(half, abs=0.011)
            assert (high + low) / 2 == pytest.approx(statistics.mean(differences), abs=0.011)


NETWORKS = [section for section in SECTIONS if "networks" in section]


@pytest.mark.parametrize("section", NETWORKS, ids=[section["title"] for section in NETWORKS])
def test_differences_over_networks_follow_from_the_runs(section):
    values = {}
    for grid in (ROOT / section["networks"]["sweep"], ROOT / section["sweep"]):
        lines = grid.with_name(f"{grid.stem}_{section['split']}.jsonl").read_text().splitlines()
        for run in map(json.loads, lines):
            name, _, network = run["variant"].partition(", ")
            values.setdefault(network, {}).setdefault(name, {})[run["seed"]] = run[section["split"]]["accuracy"]
    for name, other in section["networks"]["differences"]:
        means = [statistics.mean(v[name][seed] - v[other][seed] for seed in v[name]) for v in values.values()]
        *cells, mean = re.search(rf"^\| {name} - {other} +\|(.*)\|$", PAGE, re.MULTILINE)[1].split("|")
        assert [float(cell) for cell in cells] == pytest.approx(means, abs=0.0051)
        half = stats.t.ppf(0.975, len(means) - 1) * statistics.stdev(means) / math.sqrt(len(means))
        assert [float(number) for number in re.findall(r"[+-]\d+\.\d+", mean)] == pytest.approx(
            [statistics.mean(means), statistics.mean(means) - half, statistics.mean(means) + half], abs=0.011
        )


@pytest.mark.parametrize("section", SECTIONS, ids=[section["title"] for section in SECTIONS])
def test_plot_is_there(section):
    with Image.open(results_write.plot(section)) as image:
        assert image.width > 400


def test_papers_figures_belong_to_rows_and_stand_in_none():
    for section in SECTIONS:
        text = PAGE.partition(f"## {section['title']}\n")[2].partition("\n## ")[0]
        rows = {line.split("|")[1].strip(): line for line in text.split("\n") if line.startswith("| ")}
        for name, figure in section.get("paper", {}).items():
            assert f"{name} {figure}" in text
            assert str(figure) not in rows[name], section["title"]
