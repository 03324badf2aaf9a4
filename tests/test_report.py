"""tools/report.py: what it reads from run folders, what it writes, and the page in a browser."""

from __future__ import annotations

import html
import json
import platform
import re
import shlex
import subprocess

import numpy as np
import pytest
from PIL import Image

from gcisg_core.problems import DataError
from gcisg_core.run_folder import number_start, start_number
from gcisg_suite.gallery import browser
from gcisg_suite.report.losses import loss_curves
from gcisg_suite.report.runs import read_run
from gcisg_suite.report.sections import section
from tests.documents import run

CONFIG = """
default_scope = "mmseg"
model = dict(type="SynToRealEncoderDecoder", backbone=dict(type="ResNet", depth=50), regularizer=dict(method={!r}))
train_cfg = dict(max_iters=40)
train_data = dict(type="GTAVDataset", data_root="g")
train_dataloader = dict(batch_size=8, dataset=dict(type="SeededDataset", dataset=train_data))
val_dataloader = dict(dataset=dict(type="CityscapesLabelIdsDataset", data_root="validated"))
test_dataloader = dict(dataset=dict(type="CityscapesLabelIdsDataset", data_root="tested"))
optim_wrapper = dict(optimizer=dict(lr=0.01))
randomness = dict(seed=3)
"""


def write_mmengine(folder, method, miou, started="20260101_000000", steps=(10, 20, 30, 40), extra=None, seed=3):
    log = folder / started / "vis_data" / "scalars.json"
    log.parent.mkdir(parents=True)
    (folder / "mine.py").write_text(CONFIG.format(method).replace("seed=3", f"seed={seed}"))
    lines = [{"decode.loss_ce": 9.0 / step, "loss": 1.0, "time": 0.5, "step": step, **(extra or {})} for step in steps]
    lines += [{"mIoU": miou, "aAcc": 80.0, "data_time": 0.1, "time": 0.2, "step": steps[-1] if steps else 5}]
    log.write_text("".join(json.dumps(line) + "\n" for line in lines))
    return folder


@pytest.fixture
def segmentation(tmp_path):
    terms = {"loss_guidance_stage4": 0.25}
    return [
        write_mmengine(tmp_path / "baseline", "none", 26.67),
        write_mmengine(tmp_path / "gcisg", "gcisg", 39.01, extra=terms),
    ]


@pytest.fixture
def detection(tmp_path):
    """A run with an evaluation whose images, truth and boxes are there."""
    folder = tmp_path / "detector"
    (folder / "inference/real").mkdir(parents=True)
    Image.fromarray(np.full((24, 32, 3), 90, np.uint8)).save(tmp_path / "0.png")
    box = {"image_id": 1, "category_id": 1, "bbox": [4, 5, 10, 12]}
    classes = [{"id": 1, "name": "car"}]
    truth = {"images": [{"id": 1, "file_name": "0.png"}], "annotations": [box], "categories": classes}
    (tmp_path / "real.json").write_text(json.dumps(truth))
    boxes = [{**box, "bbox": [6, 7, 9, 9], "score": 0.9}, {**box, "score": 0.1}]
    (folder / "inference/real/coco_instances_results.json").write_text(json.dumps(boxes))
    sets = {"TRAIN": ["synthetic"], "TEST": ["real"], "COCO": [["real", str(tmp_path / "real.json"), str(tmp_path)]]}
    config = {"DATASETS": sets, "SOLVER": {"MAX_ITER": 20}, "REGULARIZER": {"METHOD": "gcisg"}, "SEED": 1}
    (folder / "config.yaml").write_text(json.dumps(config))
    lines = [{"iteration": i, "total_loss": 1.0, "loss_cls": 1.0 / (i + 1), "time": 3.0} for i in (9, 19)]
    lines.append({"iteration": 19, "real/bbox/AP": 30.6, "real/bbox/AP50": 54.6, "real/bbox/AP-car": 30.6})
    (folder / "metrics.json").write_text("".join(json.dumps(line) + "\n" for line in lines))
    return folder


class TestReading:
    def test_scalars_measures_and_time_of_mmengine(self, segmentation):
        run = read_run(segmentation[1])
        assert (run.task, run.steps, run.seconds) == ("segmentation", 40, 20.0)
        assert run.result == {"mIoU": 39.01, "aAcc": 80.0}
        assert run.data == ("GTAVDataset in g", "CityscapesLabelIdsDataset in validated")
        assert run.setting("method") == "method gcisg"

    def test_a_resumed_part_replaces_what_it_trained_again(self, segmentation):
        write_mmengine(segmentation[0], "none", 28.0, "20260102_000000", steps=(30, 40, 50))
        run = read_run(segmentation[0])
        assert [entry["step"] for entry in run.training] == [10, 20, 30, 40, 50]
        assert run.result["mIoU"] == 28.0

    def test_a_clock_that_was_set_back_hides_nothing(self, segmentation):
        folder = write_mmengine(segmentation[0], "none", 28.0, "20250101_000000", steps=(30, 40, 50))
        for number, logs in enumerate(("20260101_000000", "20250101_000000"), start=1):
            number_start(folder / logs)
            assert start_number(folder / logs) == number
        run = read_run(folder)
        assert [entry["step"] for entry in run.training] == [10, 20, 30, 40, 50]
        assert run.result["mIoU"] == 28.0

    def test_nothing_of_a_runs_config_is_run(self, segmentation, tmp_path):
        config = segmentation[0] / "mine.py"
        config.write_text(config.read_text() + f"open({str(tmp_path / 'ran')!r}, 'w')\n")
        with pytest.raises(DataError, match=r"mine.py, line 11: is not a config that training wrote .*--config FILE"):
            read_run(segmentation[0])
        assert not (tmp_path / "ran").exists()

    def test_a_test_counts_more_than_a_validation_and_names_its_data(self, segmentation):
        path = segmentation[0] / "20260103_000000" / "20260103_000000.json"
        path.parent.mkdir()
        path.write_text(json.dumps({"mIoU": 25.0, "time": 0.1}) + "\n" + '{"mIoU": 2')  # a killed writer's last line
        run = read_run(segmentation[0])
        assert run.result == {"mIoU": 25.0}
        assert run.data[1] == "CityscapesLabelIdsDataset in tested"

    def test_detectron2(self, detection):
        run = read_run(detection)
        assert (run.task, run.steps, run.seconds) == ("detection", 20, 60.0)
        assert run.result == {"real/bbox/AP": 30.6, "real/bbox/AP50": 54.6}
        assert run.data[1].endswith("real.json)")

    def test_a_folder_without_a_run_is_named(self, tmp_path, capsys):
        assert run(f"python tools/report.py {tmp_path}") == 1
        assert f"error: {tmp_path}: no run. Expected the output folder of `gcisg train`" in capsys.readouterr().err


@pytest.fixture
def page(segmentation, detection, tmp_path):
    goal = tmp_path / "report.html"
    runs = " ".join(map(str, [*segmentation, detection]))
    assert run(f"python tools/report.py {runs} --names baseline GCISG detector --out {goal}") == 0
    return goal


def test_the_page_has_all_parts_and_fetches_nothing(page):
    text = page.read_text()
    head = text.partition("<section>")[0]
    assert "GCISG +12.3 points of mIoU over baseline (39.01 against 26.67), one seed: no interval." in head
    assert "detector: AP 30.60; one run of one method, so nothing to compare with." in head
    assert re.search(r"<code>[^<]*gcisg[^<]* report [^<]*--names baseline GCISG detector", head)
    assert f"Python {platform.python_version()}, " in head
    assert re.search(r"<dt>Date</dt><dd>20\d\d-\d\d-\d\d ", head)
    assert "Segmentation: CityscapesLabelIdsDataset in validated (val_dataloader); Detection: real (" in head
    assert "<td>mIoU</td><td>26.67</td><td>39.01</td><td>+12.34</td>" in text
    assert "20 s for 40 iterations (GCISG)" in text
    assert "No pictures: no run has a checkpoint" in text  # of segmentation
    assert text.count("<img") == 3  # curves of both tasks, boxes
    assert not re.search(r"(src|href)=.(?!data:)", text)
    assert text.count("var uPlot=") == 1
    assert "Permission is hereby granted" in text  # uPlot's licence


def test_the_commands_of_the_page_can_be_pasted(tmp_path):
    folder = write_mmengine(tmp_path / "My runs" / "it's", "gcisg", 30.0)
    (command,) = section("segmentation", {"mine": read_run(folder)}).commands
    words = shlex.split(command)
    assert words[words.index("train") + 1 :] == ["--config", str(folder / "mine.py"), "--output", f"{folder}_again"]


def titles_and_names(run):
    charts = loss_curves([run]).charts
    return {chart.title: [line.name for line in chart.drawn()] for chart in charts}


def test_losses_of_one_run_are_named_after_task_and_method(segmentation, detection):
    own, term = ["gcisg"], ["gcisg: guidance, stage 4"]
    assert titles_and_names(read_run(segmentation[1])) == {
        "segmentation loss": own,
        "weighted terms of the method": term,
    }
    assert titles_and_names(read_run(segmentation[0])) == {"segmentation loss": ["baseline"]}
    assert titles_and_names(read_run(detection)) == {"detection loss": ["detector"]}


def test_runs_of_one_name_are_seeds(tmp_path):
    figures = {"baseline": (20.0, 21.0, 25.0), "GCISG": (30.0, 32.0, 34.0)}
    runs = [
        write_mmengine(tmp_path / f"{name}_{seed}", "none", miou, extra={"loss_aux": float(seed)}, seed=seed)
        for name, values in figures.items()
        for seed, miou in enumerate(values)
    ]
    goal = tmp_path / "report.html"
    names = " ".join(name for name in figures for _ in range(3))
    assert run(f"gcisg report {' '.join(map(str, runs))} --names {names} --output {goal}") == 0
    text = goal.read_text()
    # Differences 10, 11, 9: mean 10, t(2) 4.303, standard error 0.577.
    assert "GCISG +10.0 points of mIoU over baseline, 95 % +7.5 to +12.5, 3 seeds." in text
    assert "<td>22.00 ± 2.65</td><td>32.00 ± 2.00</td><td>+10.00 [+7.52, +12.48]</td>" in text
    assert re.search(r"<td>seed</td>\s*<td>0; 1; 2</td>\s*<td>0; 1; 2</td>", text)
    assert re.search(r"<td>iterations</td>\s*<td>40</td>", text)
    (data,) = re.findall(r'<script type="application/json">(.*?)</script>', text, re.S)
    (chart, *_) = json.loads(data)
    assert [line["name"] for line in chart["lines"]] == ["baseline", "GCISG"]
    assert chart["lines"][0]["values"][0] == pytest.approx(9 / 10 + 1)  # the mean of both losses' sums


@pytest.mark.remedy("give --names, with the same name for seeds of a method")
def test_runs_in_folders_of_one_name(tmp_path, capsys):
    given = " ".join(str(write_mmengine(tmp_path / name / "run", "none", 20.0)) for name in ("a", "b"))
    command = f"gcisg report {given} --output {tmp_path / 'report.html'}"
    assert run(command) == 2
    assert "several folders are called run run; give --names, with the same name for seeds" in capsys.readouterr().err
    for names in ("a b", "a a"):
        assert run(f"{command} --names {names}") == 0


def test_a_run_that_logged_nothing_says_so_and_one_point_is_drawn(tmp_path):
    quiet = write_mmengine(tmp_path / "quiet", "none", 20.0, steps=())
    short = write_mmengine(tmp_path / "short", "none", 20.0, steps=(2,))
    both = {folder.name: read_run(folder) for folder in (quiet, short)}
    text = " ".join(section("segmentation", both).text)
    assert "1 s for 2 iterations (short)" in text
    assert "quiet logged nothing during training: it ended before its first log interval." in text
    assert "0 iterations" not in text
    assert loss_curves(both.values()).charts[0].data()["steps"] == [2]
    assert loss_curves([both["quiet"]]) is None


def test_a_run_is_as_long_as_its_last_evaluation_says_where_the_log_ends_before(tmp_path):
    run = write_mmengine(tmp_path / "run", "none", 20.0, steps=(3, 69))
    with next(run.rglob("scalars.json")).open("a") as file:
        file.write(json.dumps({"mIoU": 21.0, "step": 70}) + "\n")
    assert read_run(run).steps == 70


def test_the_verdict_names_the_set_where_several_were_evaluated(detection):
    with (detection / "metrics.json").open("a") as file:
        file.write(json.dumps({"iteration": 19, "real/bbox/AP": 30.6, "other/bbox/AP": 20.0}) + "\n")
    (verdict,) = section("detection", {"detector": read_run(detection)}).verdicts
    assert verdict == "detector: AP on real 30.60; one run of one method, so nothing to compare with."


def in_browser(page, *flags):
    command = [str(browser()), "--headless", "--no-sandbox", "--disable-gpu", *flags]
    return subprocess.run([*command, f"file://{page}"], capture_output=True, text=True, check=True, timeout=120).stdout


@pytest.mark.browser
def test_a_browser_shows_the_page_on_a_phone_and_in_the_dark(page, tmp_path):
    """What the browser made of it: texts, loaded pictures, no sideways scrolling, and the colours asked for."""
    probe = """<script>onload = () => {
      const shown = [...document.images].filter(image => image.complete && image.naturalWidth > 100).length;
      const wide = document.documentElement.scrollWidth - innerWidth;
      document.title = JSON.stringify({shown, wide, width: innerWidth, text: document.body.innerText});
    }</script></body>"""
    copy = tmp_path / "probe.html"
    copy.write_text(page.read_text().replace("</body>", probe))
    (title,) = re.findall(r"<title>(.*?)</title>", in_browser(copy, "--window-size=500,900", "--dump-dom"), re.S)
    seen = json.loads(title.replace("&lt;", "<").replace("&gt;", ">").replace("&amp;", "&"))
    assert seen["shown"] == 3
    assert seen["width"] <= 500
    assert seen["wide"] <= 0
    assert "+12.34" in seen["text"]
    assert "Whole config of GCISG" in seen["text"]

    # As wide as a phone, which a window cannot be; once without scripts.
    frames = "".join(
        f'<iframe width="400" height="800" {sandbox} srcdoc="{html.escape(page.read_text())}"></iframe>'
        for sandbox in ("", 'sandbox="allow-same-origin"')
    )
    probe = """<script>onload = () => {
      const seen = [...document.querySelectorAll("iframe")].map(({contentDocument: d}) => ({
        wide: d.documentElement.scrollWidth - d.documentElement.clientWidth, drawn: d.querySelectorAll("canvas").length,
        pictures: [...d.querySelectorAll("figure.curves img")].filter(image => image.offsetWidth > 100).length}));
      document.title = JSON.stringify(seen);
    }</script>"""
    copy.write_text(f"<!doctype html><title></title>{frames}{probe}")
    (title,) = re.findall(r"<title>(.*?)</title>", in_browser(copy, "--window-size=900,900", "--dump-dom"), re.S)
    with_script, without = json.loads(title)
    assert with_script == {"wide": 0, "drawn": 3, "pictures": 0}
    assert without == {"wide": 0, "drawn": 0, "pictures": 2}

    for scheme, dark in (("0", True), ("1", False)):  # what the page is told of the user's preference
        goal = tmp_path / f"{scheme}.png"
        preference = f"--blink-settings=preferredColorScheme={scheme}"
        in_browser(page, "--window-size=390,844", preference, f"--screenshot={goal}")
        with Image.open(goal) as picture:
            assert (np.asarray(picture.convert("L"))[:, 2].mean() < 64) == dark
