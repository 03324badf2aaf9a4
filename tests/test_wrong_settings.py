"""A setting of a wrong type ends each task's training with one line that names its key."""

import os
import re
import socket
from pathlib import Path

import numpy as np
import pytest

from gcisg_core.wrong_setting import SettingError, naming_settings
from gcisg_suite.cli import main
from tests.command import gcisg
from tests.processes import status_of_command
from tests.test_own_data import MAKE
from tests.test_worker_errors import TASKS

MMENGINE = {
    "optim_wrapper.optimizer.lr=x": "optim_wrapper.optimizer.lr is 'x', expected a value like 0.",
    "train_cfg.max_iters=abc": "train_cfg.max_iters is 'abc', expected a value like 2",
    "train_cfg.val_interval=x": "train_cfg.val_interval is 'x', expected a value like 2",
}
OUT_OF_RANGE = {  # for all tasks, in each framework's form
    "optim_wrapper.optimizer.lr=-1": "mine.py: optim_wrapper.optimizer.lr is -1, expected a number of at least 0",
    "optim_wrapper.optimizer.momentum=2": "mine.py: .*momentum is 2, expected a number from 0 to 1",
    "optim_wrapper.optimizer.weight_decay=nan": "mine.py: .*weight_decay is nan, expected a number of at least 0",
    "train_dataloader.batch_size=0": "mine.py: train_dataloader.batch_size is 0, expected a whole number of at least 1",
    "train_dataloader.num_workers=-1": "mine.py: .*num_workers is -1, expected a whole number of at least 0",
    "train_cfg.max_iters=0": "mine.py: train_cfg.max_iters is 0, expected a whole number of at least 1",
    "model.num_classes=0": "mine.py: model.num_classes is 0, expected",
    "val_dataloader.dataset.pipeline.size=0": "mine.py: val_dataloader.dataset.pipeline.size is 0, expected",
    "model.regularizer.method=gcisg model.regularizer.tau=0": "mine.py: model.regularizer: tau, .*above 0",
    "model.regularizer.method=gcisg model.regularizer.queue_length=0": "mine.py: .*queue_length must be at least 1",
    "model.regularizer.method=gcisg model.regularizer.queue_length=1000000000": "queue_length 1.* 512.0 GB",
    "model.regularizer.method=gcisg model.regularizer.patches=0,0": "mine.py: .*patches must be two numbers of at",
    "model.regularizer.method=gcisg model.regularizer.decay=1.5": "mine.py: .*decay must be in .0, 1., got 1.5",
    "model.regularizer.method=gcisg model.regularizer.lambda_ci=nan": "mine.py: .*lambda_ci must be finite, got nan",
}
OUT_OF_RANGE_OF_DETECTRON2 = {
    "SOLVER.BASE_LR -1.0": "mine.yaml: SOLVER.BASE_LR is -1.0, expected a number of at least 0",
    "SOLVER.MOMENTUM 2.0": "mine.yaml: SOLVER.MOMENTUM is 2.0, expected a number from 0 to 1",
    "SOLVER.MAX_ITER 0": "mine.yaml: SOLVER.MAX_ITER is 0, expected a whole number of at least 1",
    "SOLVER.IMS_PER_BATCH 0": "mine.yaml: SOLVER.IMS_PER_BATCH is 0, expected a whole number of at least 1",
    "DATALOADER.NUM_WORKERS -1": "mine.yaml: DATALOADER.NUM_WORKERS is -1, expected a whole number of at least 0",
    "INPUT.MIN_SIZE_TRAIN (0,)": "mine.yaml: INPUT.MIN_SIZE_TRAIN.0 is 0, expected a number above 0",
    "REGULARIZER.METHOD gcisg REGULARIZER.LAMBDA_CI -1.0": "mine.yaml: REGULARIZER .*lambda_ci must be at least 0",
}
CASES = [
    ("classification", "model.num_classes=three", "model.num_classes is 'three', expected a value like 3"),
    ("segmentation", "model.decode_head.num_classes=three", "model.decode_head.num_classes is 'three', expected"),
    *(("classification", *case) for case in {**MMENGINE, **OUT_OF_RANGE}.items()),
    (
        "segmentation",
        "model.decode_head.num_classes=0",
        "mine.py: model.decode_head.num_classes is 0, expected a whole",
    ),
    *(("detection", *case) for case in OUT_OF_RANGE_OF_DETECTRON2.items()),
    (
        "detection",
        "SOLVER.BASE_LR x",
        r"mine.yaml: SOLVER.BASE_LR is x, expected a number with a decimal point, such as 0",
    ),
    ("detection", "SOLVER.BASE_LR -1", "mine.yaml: SOLVER.BASE_LR is -1, expected a number with a decimal point"),
    ("detection", "SOLVER.MAX_ITER 1.5", "mine.yaml: SOLVER.MAX_ITER is 1.5, expected a whole number, such as 2"),
    ("classification", "load_from=/a,b.pth", "/a,b.pth"),
    ("detection", "SOLVER.STEPS ('a',)", "mine.yaml: SOLVER.STEPS is .*'a'.*expected numbers, such as"),
    ("detection", "DATASETS.TRAIN ()", "mine.yaml: DATASETS.TRAIN is empty"),
]


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    root = tmp_path_factory.mktemp("wrong settings")
    for task, (file, text) in TASKS.items():
        for seed, name in enumerate(("synthetic", "real")):
            MAKE[task](root / task / "my" / name, np.random.default_rng(seed))
        (root / task / file).write_text(text)
    return root


@pytest.mark.parametrize(("task", "override", "message"), CASES)
def test_names_the_key_in_one_line(task, override, message, folders, monkeypatch, capsys):
    monkeypatch.chdir(folders / task)
    with pytest.raises(SystemExit) as stopped:
        main(["train", "--config", TASKS[task][0], "--output", "run", "--fresh", *override.split()])
    said = str(stopped.value.code)
    assert re.match(f"error: .*{message}", said)
    assert "\n" not in said
    shown = capsys.readouterr()
    assert "Traceback" not in shown.out + shown.err


def build_from_cfg(call, **settings):
    return call(**settings)


def layer(out_features):
    return out_features + 1


def failing(size):
    raise RuntimeError(f"a fault of {size}")


def named(settings, overrides=(), before=None, call=layer, **given):
    def read(asked):
        return settings if asked or before is None else before

    with naming_settings("mine.py", read, list(overrides), {"build_from_cfg"}):
        build_from_cfg(call, **given)


def test_an_argument_that_nothing_takes_or_that_is_missing_is_one_line():
    with pytest.raises(SettingError, match=r"mine.py: model.depth is 3 \(layer\(\) got an unexpected keyword argument"):
        named({"model": {"type": "layer", "depth": 3}}, depth=3)
    with pytest.raises(
        SettingError, match=r"mine.py: layer\(\) missing 1 required positional argument: 'out_features'"
    ):
        named({"model": {"type": "layer"}})


def test_text_of_a_file_is_found_under_another_name():
    with pytest.raises(SettingError, match=r"mine.py: model.num_classes is 'three' \(can only concatenate str"):
        named({"model": {"type": "three", "num_classes": "three"}}, out_features="three")


def test_an_argument_that_does_not_exist_is_named_and_no_value_beside_it():
    settings = {"model": {"type": "layer", "norm": "BN", "stages": {"stride": 2, "norm": "BN"}}}
    with pytest.raises(SettingError, match=r"mine.py: model.stages.stride is 2 \(.*argument 'stride'"):
        named(settings, norm="BN", call=lambda norm: layer(3, stride=2))


def test_other_errors_stay_as_they_are():
    with pytest.raises(TypeError):
        named({"model": {"num_classes": 3}}, out_features="four")
    with pytest.raises(RuntimeError, match="a fault of 3"):
        named({"model": {"size": 3}}, call=failing, size=3)
    with pytest.raises(TypeError):  # an override that leaves the type as it was is not a cause
        named({"model": {"a": 4}}, ["model.a=4"], {"model": {"a": 3}}, out_features=None)


@pytest.mark.remedy("torchrun sets the number of processes: leave out --num-gpus and --num-machines")
def test_torchrun_and_a_number_of_processes_exclude_each_other(folders, monkeypatch):
    monkeypatch.chdir(folders / "classification")
    given = ["train", "--config", "mine.py", "--output", "of torchrun"]
    with monkeypatch.context() as patch:
        patch.setitem(os.environ, "LOCAL_RANK", "0")
        for flag in ("--num-gpus", "--num-machines"):
            ended = gcisg(*given, flag, 2)
            assert (ended.code, "leave out --num-gpus and --num-machines" in ended.err) == (2, True)
    with socket.create_server(("127.0.0.1", 0)) as free:
        place = {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(free.getsockname()[1])}
    ranks = {"RANK": "0", "LOCAL_RANK": "0", "WORLD_SIZE": "1", "LOCAL_WORLD_SIZE": "1"}
    assert status_of_command(*given, **place, **ranks) == 0


def test_a_sweep_of_a_config_that_does_not_exist_is_refused_before_a_command_is_printed(tmp_path, capsys):
    Path(tmp_path / "sweep.yaml").write_text("task: detection\nvariants:\n  a: {config: absent}\n")
    with pytest.raises(SystemExit, match="sweep.yaml: the config of variant 'a' is 'absent', but there is no file"):
        main(["sweep", "--sweep", str(tmp_path / "sweep.yaml"), "--dry-run"])
    assert not capsys.readouterr().out
