"""`gcisg new-project`: what it keeps, how long it trains, and which options it takes."""

import json

import numpy as np
import pytest
from PIL import Image

from gcisg_suite.cli import main
from gcisg_suite.schedule import Schedule
from gcisg_suite.tasks import TASKS, read_config
from tests.test_own_data import COLOURS, MAKE

SUFFIX = {"classification": ".py", "segmentation": ".py", "detection": ".yaml"}


@pytest.fixture
def data(tmp_path, monkeypatch, request):
    """`synthetic` and `real` of a task in the folder in which commands run."""
    for seed, name in enumerate(("synthetic", "real")):
        MAKE[request.param](tmp_path / name, np.random.default_rng(seed))
    (tmp_path / "classes.txt").write_text("\n".join(COLOURS))
    (tmp_path / "colours.txt").write_text("\r\n".join(f"{name} {r} {g} {b}" for name, (r, g, b) in COLOURS.items()))
    monkeypatch.chdir(tmp_path)
    return request.param


def new_project(task, *more):
    """The exit status, or the message."""
    flags = ["--task", task, "--synthetic", "synthetic", "--real", "real", "--output", "out", "--workers", "1"]
    flags += ["--classes", "colours.txt"] if task == "segmentation" and "--classes" not in more else []
    try:
        main(["new-project", *flags, *more])
    except SystemExit as stopped:
        return stopped.code
    return 0


@pytest.mark.remedy("Name another --output, or give --force, which keeps a copy of it")
@pytest.mark.parametrize("data", ["classification", "detection"], indirect=True)
def test_a_changed_config_is_kept_and_with_force_copied(data, tmp_path, capsys):
    assert new_project(data) == new_project(data) == 0  # the same again
    mine = tmp_path / f"out/gcisg{SUFFIX[data]}"
    written = mine.read_text()
    for number in (1, 2):
        mine.write_text(f"{written}# mine, {number}\n")
        message = new_project(data)
        assert (
            f"error: out/{mine.name}: exists with different content. Name another --output, or give --force" in message
        )
        assert mine.read_text() == f"{written}# mine, {number}\n"
        assert new_project(data, "--force") == 0
        copy = mine.with_name(f"gcisg_old{number}{mine.suffix}")
        assert f"kept the old out/{mine.name} as out/{copy.name}" in capsys.readouterr().out
        assert (mine.read_text(), copy.read_text()) == (written, f"{written}# mine, {number}\n")
    assert len([*(tmp_path / "out").iterdir()]) == 4


@pytest.mark.parametrize(
    ("images", "iterations", "epochs"),
    [(0, 500, ""), (180, 500, "178 epochs"), (6400, 3000, "30 epochs"), (10**6, 10_000, "0.6 epochs")],
)
def test_the_length_follows_the_number_of_images_within_bounds(images, iterations, epochs):
    schedule = Schedule(images, 64, 30, 10_000)
    assert (schedule.iterations, schedule.interval) == (iterations, iterations // 10)
    assert f"{iterations} iterations of 64 images, {epochs}" in str(schedule)


@pytest.mark.parametrize("data", MAKE, indirect=True)
def test_batch_and_longest_training_are_those_of_the_base(data, tmp_path, capsys):
    from importlib import import_module

    module = import_module(TASKS[data].place("new_project").partition(":")[0])
    base = read_config(TASKS[data].folder / f"own_data{SUFFIX[data]}")
    assert new_project(data) == 0
    assert f"schedule: 500 iterations of {module.BATCH} images" in capsys.readouterr().out
    config = read_config(tmp_path / f"out/gcisg{SUFFIX[data]}")
    if data == "detection":
        assert (base.SOLVER.IMS_PER_BATCH, base.SOLVER.MAX_ITER) == (module.BATCH, module.MOST)
        assert (config.SOLVER.MAX_ITER, config.SOLVER.STEPS, config.SOLVER.WARMUP_ITERS) == (500, (333, 444), 50)
        return
    assert (base.train_dataloader.batch_size, base.train_cfg.max_iters) == (module.BATCH, module.MOST)
    assert (config.train_cfg.max_iters, config.train_cfg.val_interval) == (500, 50)
    assert config.default_hooks.checkpoint.interval == 50
    assert data == "classification" or config.param_scheduler[0].end == 500


def test_it_takes_every_option_of_the_audits_of_own_data():
    for task in TASKS.values():
        assert {*task.audits[task.own_data[0]].options} <= {*task.data_options}


@pytest.mark.parametrize("data", ["segmentation"], indirect=True)
def test_rules_of_labels_are_those_of_the_audit_and_reach_the_config(data, tmp_path, capsys):
    for part in ("synthetic", "real"):
        (tmp_path / part / "labels").rename(tmp_path / part / "masks")
        for path in (tmp_path / part / "masks").iterdir():
            numbers = np.random.default_rng(0).integers(0, 3, (128, 128), np.uint8)
            Image.fromarray(np.where(np.eye(128) > 0, 9, numbers + 1).astype(np.uint8)).save(path)
    rules = ["--labels", "masks", "--classes", "classes.txt", "--reduce-zero-label", "--ignore-index", "9"]
    main(["audit", "--dataset", "pairs", "--root", "synthetic", "--workers", "1", *rules])
    assert new_project(data, *rules) == 0
    dataset = read_config(tmp_path / "out/gcisg.py").train_dataloader.dataset.dataset
    assert (dataset.reduce_zero_label, dataset.ignore_index) == (True, 9)
    assert dataset.data_prefix == {"img_path": "images", "seg_map_path": "masks"}
    for path in (tmp_path / "synthetic/masks").iterdir():
        Image.fromarray(np.asarray(Image.open(path)) * 20).save(path)
    values = ["--labels", "masks", "--num-classes", "3", "--label-values", "20", "40", "60", "--ignore-index", "180"]
    main(["audit", "--dataset", "pairs", "--root", "synthetic", "--workers", "1", *values])
    capsys.readouterr()
    with pytest.raises(SystemExit) as stopped:
        main(["audit", "--dataset", "pairs", "--root", "synthetic", "--workers", "1", *values[:-2], "--json"])
    assert stopped.value.code == 1
    assert json.loads(capsys.readouterr().out)["summary"] == {"values or colours of no class: … such as …": 4}


@pytest.mark.parametrize("data", ["detection"], indirect=True)
def test_a_named_json_and_a_class_without_a_real_box(data, tmp_path, capsys):
    for part in ("synthetic", "real"):
        (tmp_path / part / "annotations.json").rename(tmp_path / part / "my boxes.json")
    file = tmp_path / "real/my boxes.json"
    content = json.loads(file.read_text())
    content["annotations"] = [item for item in content["annotations"] if item["category_id"] != 5]
    file.write_text(json.dumps(content))
    assert new_project(data, "--annotations", "my boxes.json", "--json") == 0
    found = json.loads(capsys.readouterr().out)
    assert found["audits"]["real"]["problems"] == []
    assert [note["what"] for note in found["audits"]["real"]["notes"]] == ["category 'car' has no annotation"]
    assert found["written"] == ["out/baseline.yaml", "out/gcisg.yaml"]
    assert [command.count("train") for command in found["commands"]] == [1, 1, 0]
    config = read_config(tmp_path / "out/gcisg.yaml")
    assert config.DATASETS.COCO[1] == ["real", "real/my boxes.json", "real/images"]
    assert new_project(data, "--ignore-index", "3") == 2
    assert "--ignore-index does not apply to --task detection" in capsys.readouterr().err


@pytest.mark.parametrize("data", ["classification"], indirect=True)
def test_images_that_both_folders_have_are_named(data, tmp_path, capsys):
    (tmp_path / "real/bus/0.png").write_bytes((tmp_path / "synthetic/boat/1.png").read_bytes())
    Image.open(tmp_path / "synthetic/boat/2.png").save(tmp_path / "real/boat/2.bmp")
    assert new_project(data) == 1
    output = capsys.readouterr().out
    assert "real/bus/0.png: the same file as synthetic/boat/1.png, byte for byte. Remove one of the two" in output
    assert "real/boat/2.bmp: looks like synthetic/boat/2.png (correlation 1.000). Compare them." in output


@pytest.mark.remedy("lies in --{} {}, which is for data; name another")
@pytest.mark.parametrize("data", ["classification"], indirect=True)
def test_the_order_of_classes_that_is_given_is_that_of_the_labels(data, tmp_path, capsys):
    assert new_project(data, "--output", "real/project") == 2
    assert "error: --output real/project lies in --real real, which is for data" in capsys.readouterr().err
    assert new_project(data, "--classes", "bus", "bird", "boat") == 0
    assert read_config(tmp_path / "out/gcisg.py").classes == ("bus", "bird", "boat")
    assert "exists with different content" in new_project(data)
