"""How a checkpoint is chosen: ranks, ties, costs, and that target labels are used only where they are asked for."""

import json
import re
import sys
from pathlib import Path

import pytest
import torch

from gcisg_core.model_metrics import ModelMetrics
from gcisg_core.problems import DataError
from gcisg_suite.selection.criteria import ranks, read_lines, report, select
from gcisg_suite.selection.page import write_page
from gcisg_suite.selection.run_checkpoints import checkpoints_of, config_of, evaluate_run
from gcisg_suite.selection.settings import SelectionSettings

TOOLS = Path(__file__).parents[2] / "tools"


def line(iteration, source, match_rate, cka, energy, **target):
    values = {"source": source, "match_rate": match_rate, "cka": cka, "energy": energy, **target}
    return {"checkpoint": f"iter_{iteration}.pth", "iteration": iteration, "head": "accuracy", **values}


# Each criterion prefers another one; the mean of the ranks prefers the second.
RUN = [line(1, 90, 50, 0.9, 0.5), line(2, 91, 60, 0.8, 0.4), line(3, 92, 55, 0.7, 0.45), line(4, 80, 40, 0.6, 0.3)]
TARGETS = [70.0, 72.0, 75.0, 60.0]
LABELLED = [{**each, "target": value} for each, value in zip(RUN, TARGETS, strict=True)]


@pytest.mark.parametrize(
    ("by", "iteration"), [("source", 3), ("match_rate", 2), ("cka", 1), ("energy", 4), ("mean_rank", 2), ("target", 3)]
)
def test_each_criterion_chooses_its_best(by, iteration):
    assert select(LABELLED, by)["iteration"] == iteration


def test_the_mean_of_the_ranks_is_that_of_the_ranks():
    found = ranks(RUN)
    assert found["source"] == [3, 2, 1, 4]
    assert found["energy"] == [4, 2, 3, 1]
    assert found["mean_rank"] == [2.75, 1.75, 2.25, 3.25]
    assert "target" not in found


def test_ties_share_their_rank_and_the_later_one_is_chosen():
    run = [line(1, 90, 50, 0.9, 0.5), line(2, 90, 50, 0.9, 0.5)]
    assert ranks(run)["source"] == [1.5, 1.5]
    assert select(run)["iteration"] == 2


@pytest.mark.remedy("give --source, if you can")
def test_a_checkpoint_without_a_number_is_last_and_a_criterion_without_any_is_left_out():
    run = [line(1, "no images", "nothing found", 0.9, 0.5), line(2, "no images", 50, 0.8, 0.6)]
    found = ranks(run)
    assert found["match_rate"] == [2, 1]
    assert "source" not in found
    assert "Left out: source (no images)." in report(run)
    assert "give --source" in report(run)
    assert "give --source" not in report(RUN)


def test_a_choice_without_labels_is_told_as_such():
    text = report(RUN)
    assert "Chosen by mean_rank, without target labels: iter_2.pth" in text
    assert "target accuracy" not in text
    assert [row.split()[0] for row in text.splitlines()[2:6]] == [
        "iter_2.pth",
        "iter_3.pth",
        "iter_1.pth",
        "iter_4.pth",
    ]


def test_labels_change_no_choice_and_tell_its_cost():
    text = report(LABELLED)
    assert "Chosen by mean_rank, without target labels: iter_2.pth" in text
    costs = {row.split("  ")[0]: row.split()[-1] for row in text.splitlines() if "iter_" in row and row[:5] != "iter_"}
    assert costs == {
        "source": "0", "match_rate": "3", "cka": "5", "energy": "15", "mean_rank": "3", "target (the best)": "0",
        "the last one": "15", "Chosen by mean_rank, without target labels: iter_2.pth": "iter_2.pth",
    }  # fmt: skip


def test_a_choice_with_labels_is_told_as_such_and_needs_them():
    assert "Chosen with target labels (accuracy), as the authors' code does" in report(LABELLED, "target")
    with pytest.raises(ValueError, match="cannot choose by 'target': it needs the target's labels. Available: source"):
        select(RUN, "target")
    with pytest.raises(ValueError, match="unknown criterion 'mach_rate'. Did you mean 'match_rate'"):
        select(RUN, "mach_rate")
    with pytest.raises(ValueError, match="no checkpoint was evaluated"):
        select([])


def test_the_page_begins_with_the_choice_and_draws_each_criterion(tmp_path):
    text = write_page(
        tmp_path, [{**each, "images": "real", "source_images": None} for each in LABELLED], "cka"
    ).read_text()
    head = text.partition("<section>")[0]
    assert "<p>Chosen by cka, without target labels: iter_1.pth.</p>" in head
    assert "<dd>real; source: no validation images</dd>" in head
    (data,) = re.findall(r'<script type="application/json">(.*?)</script>', text, re.S)
    charts = json.loads(data)
    assert [chart["title"] for chart in charts][-1] == "target accuracy"
    assert {chart["mark"] for chart in charts} == {1}
    assert charts[0]["lines"][0]["values"] == [90, 91, 92, 80]
    assert "<td>the last one</td><td>iter_4.pth</td><td>60</td><td>15</td>" in text


def test_settings_are_checked():
    assert SelectionSettings.read({"by": "cka"}).by == "cka"
    with pytest.raises(ValueError, match="unknown selection setting 'sorce'. Did you mean 'source'"):
        SelectionSettings.read({"sorce": "x"})
    with pytest.raises(ValueError, match="unknown criterion 'best'"):
        SelectionSettings.read({"by": "best"})


class FakeTask:
    """Reads the measures out of the checkpoint; counts how often."""

    heads = {"accuracy": "accuracy"}  # noqa: RUF012

    def __init__(self, data):
        self.data, self.calls = data, 0

    def load(self, path):
        return torch.load(path, weights_only=True)

    def evaluate(self, model):
        self.calls += 1
        return ModelMetrics(values=model)


@pytest.fixture
def run(tmp_path):
    for iteration in (10, 5):
        values = {"accuracy": 50.0 + iteration, "match_rate": 1.0, "cka": 0.5, "energy_0": 1.0}
        torch.save(values, tmp_path / f"iter_{iteration}.pth")
    return tmp_path


def test_nothing_is_measured_twice_and_no_target_accuracy_is_kept(run):
    target, source = FakeTask("target"), FakeTask("source")
    lines = evaluate_run(run, target, source)
    assert [entry["iteration"] for entry in lines] == [5, 10]
    assert [entry["source"] for entry in lines] == [55, 60]
    assert "target" not in (run / "selection.jsonl").read_text().replace('"images": "target"', "")
    assert evaluate_run(run, target, source) == lines
    assert (target.calls, source.calls) == (2, 2)
    labelled = evaluate_run(run, target, source, labels=True)
    assert [entry["target"] for entry in labelled] == [55, 60]
    assert (target.calls, source.calls) == (4, 4)


def test_another_file_of_the_same_name_and_other_images_are_measured(run):
    target = FakeTask("target")
    evaluate_run(run, target)
    torch.save({"accuracy": 1.0, "match_rate": 9.0, "cka": 0.5, "energy_0": 1.0}, run / "iter_10.pth")
    assert evaluate_run(run, target)[1]["match_rate"] == 9
    assert target.calls == 3
    evaluate_run(run, FakeTask("others"))
    assert len(read_lines(run)) == 5


def test_a_run_that_dies_while_it_writes_keeps_what_was_measured(run, monkeypatch):
    lines = evaluate_run(run, FakeTask("target"))

    def die(self, target):
        raise KeyboardInterrupt

    with monkeypatch.context() as broken:
        broken.setattr(Path, "replace", die)
        with pytest.raises(KeyboardInterrupt):
            evaluate_run(run, FakeTask("others"))
    assert read_lines(run) == lines
    assert len(evaluate_run(run, FakeTask("others"))) == 2
    assert len(read_lines(run)) == 4


def test_checkpoints_of_both_frameworks_are_found_in_order(tmp_path):
    with pytest.raises(DataError, match=r"no checkpoint \(iter_"):
        checkpoints_of(tmp_path)
    for name in ("model_0000099.pth", "model_0000199.pth", "model_final.partial.pth"):
        (tmp_path / name).touch()
    torch.save({"iteration": 199}, tmp_path / "model_final.pth")
    assert [(n, p.name) for n, p in checkpoints_of(tmp_path).items()] == [
        (100, "model_0000099.pth"),
        (200, "model_0000199.pth"),
    ]
    with pytest.raises(DataError, match=r"0 configs .*--config"):
        config_of(tmp_path)


def test_no_script_hides_a_module_of_python():
    """The folder of a script that runs comes first among the places where modules are looked for."""
    assert not {path.stem for path in TOOLS.glob("*.py")} & {*sys.stdlib_module_names}
