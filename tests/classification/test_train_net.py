"""The one command, as a user types it."""

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from mmengine.config import Config
from mmengine.runner.checkpoint import CheckpointLoader

from gcisg_core.integrations.mmengine import build_runner
from tests.command import gcisg, texts_in
from tests.processes import spawn

from .conftest import TINY

ROOT = Path(__file__).parents[2]
CONFIGS = ROOT / "projects/classification"


def words(config, *arguments):
    """The tiny settings come first among the overrides, so that those of a test win."""
    given = [str(argument) for argument in arguments]
    overrides = [] if "--help" in given else [*TINY, *(argument for argument in given if "=" in argument)]
    options = [argument for argument in given if "=" not in argument]
    return ["--config", str(CONFIGS / config), *options, *overrides]


def run(config, *arguments, code=0):
    ended = gcisg("train", *words(config, *arguments))
    assert ended.code == code, ended
    return ended.out + ended.err


def start(config, *arguments, **environment):
    """The script, in a process of its own: with the packages of this checkout, whatever is installed."""
    command = [sys.executable, str(ROOT / "tools/train_net.py"), *words(config, *arguments)]
    path = os.pathsep.join(filter(None, sys.path))
    environment = {**os.environ, "PYTHONPATH": path, **environment}
    return subprocess.run(command, env=environment, capture_output=True, text=True, check=False)


def state(path):
    return CheckpointLoader.load_checkpoint(str(path), map_location="cpu")


def assert_equal_states(first, second):
    left, right = state(first), state(second)
    assert left["state_dict"].keys() == right["state_dict"].keys()
    for name, value in left["state_dict"].items():
        assert torch.equal(value, right["state_dict"][name]), name
    momenta = [checkpoint["optimizer"]["state"] for checkpoint in (left, right)]
    assert momenta[0].keys() == momenta[1].keys()
    for index, buffers in momenta[0].items():
        assert torch.equal(buffers["momentum_buffer"], momenta[1][index]["momentum_buffer"])


KILLED = """
_base_ = "{base}"
custom_imports = dict(imports=["gcisg_cls", "tests.kill_hook"])
custom_hooks = [dict(type=name) for name in ("RegularizerHook", "SelectionHook", "KillHook")]
"""


def test_a_killed_run_resumes_bit_for_bit(mini):
    """SIGKILL after the first checkpoint; the rest equals the uninterrupted run: weights, target, queue, momentum."""
    queue = "model.regularizer.queue_length=30"  # wraps within the run
    run("gcisg_mini.py", "--work-dir", mini / "whole", queue)

    (mini / "gcisg_mini.py").write_text(KILLED.format(base=CONFIGS / "gcisg_mini.py"))
    process = start(mini / "gcisg_mini.py", "--work-dir", mini / "killed", queue, KILL_AT="3")
    assert process.returncode == -signal.SIGKILL, process.stderr
    assert (mini / "killed/iter_2.pth").exists()
    assert not (mini / "killed/iter_6.pth").exists()

    # Another number of workers must not matter either.
    output = run("gcisg_mini.py", "--work-dir", mini / "killed", "--resume", queue, "train_dataloader.num_workers=2")
    assert "resumed epoch: 0, iter:" in output
    assert_equal_states(mini / "whole/iter_6.pth", mini / "killed/iter_6.pth")


def stop():
    raise KeyboardInterrupt


def test_a_run_stopped_before_its_last_evaluation_ends_complete(mini, monkeypatch):
    """Between the last checkpoint and the evaluation of the same step, which also keeps the best checkpoint."""
    best = "default_hooks.checkpoint.save_best=accuracy/mean_class"
    start = (CONFIGS / "baseline_mini.py", [*TINY, best], mini / "run")
    runner = build_runner(*start)
    monkeypatch.setattr(runner.val_loop, "run", stop)
    with pytest.raises(KeyboardInterrupt):
        runner.train()
    assert (mini / "run/iter_6.pth").is_file()
    assert not [*(mini / "run").glob("best_*.pth")]
    build_runner(*start, resume=True).train()
    assert (mini / "run/best_accuracy_mean_class_iter_6.pth").is_file()
    lines = [json.loads(line) for path in (mini / "run").glob("*/vis_data/scalars.json") for line in path.open()]
    assert [line["step"] for line in lines if "accuracy/mean_class" in line] == [6]


@pytest.mark.remedy("--eval-only needs --checkpoint FILE", "--tracker is for training; leave it out with --eval-only")
def test_evaluates_a_checkpoint_and_refuses_another_models(mini):
    run("baseline_mini.py", "--work-dir", mini / "run")
    assert "--eval-only needs --checkpoint FILE" in run("baseline_mini.py", "--eval-only", code=2)
    given = ["--eval-only", "--checkpoint", mini / "run/iter_6.pth"]
    said = run("baseline_mini.py", *given, "--tracker", "tensorboard", code=2)
    assert "--tracker is for training; leave it out with --eval-only" in said
    # What a training would start from must not replace the checkpoint, which mmengine does.
    output = run("baseline_mini.py", *given, "load_from=what/training/starts/from.pth")
    assert "accuracy/mean_class" in output
    assert "loading mmengine: done in" in output
    wrong = run("baseline_mini.py", "--eval-only", "--checkpoint", mini / "run/iter_6.pth", "model.hidden=5", code=1)
    assert "head.0.weight has the shape (64, 192), expected (5, 192)" in wrong
    files = texts_in(mini / "run")
    resumed = run("gcisg_mini.py", "--work-dir", mini / "run", "--resume", code=1)
    assert "the checkpoint to resume from does not fit this config's model" in resumed
    assert texts_in(mini / "run") == files  # the run's identity and config, and no other's


def test_two_processes_train_one_model_with_one_queue(mini, monkeypatch):
    monkeypatch.setattr(torch.multiprocessing, "spawn", spawn)
    queue = "model.regularizer.queue_length=20"
    short = ("train_cfg.max_iters=2", "train_dataloader.batch_size=2")
    run("gcisg_mini.py", "--work-dir", mini / "two", "--num-gpus", 2, queue, *short)
    regularizer = {
        k: v for k, v in state(mini / "two/iter_2.pth")["state_dict"].items() if k.startswith("regularizer.queues")
    }
    # 2 iterations x 2 ranks x 2 views x 2 images
    assert regularizer["regularizer.queues.stage3.pointer"].item() == 16


def test_mixed_precision_trains_on_a_cpu(mini):
    output = run("gcisg_mini.py", "--work-dir", mini / "amp", "--amp", "train_cfg.max_iters=2")
    assert "BFloat16OptimWrapper" in next((mini / "amp").rglob("*.log")).read_text()
    assert "BFloat16OptimWrapper" not in output  # the config is for the log file
    assert "nan" not in output.rpartition("Iter(train)")[2]


@pytest.mark.parametrize(
    ("arguments", "message", "code"),
    [
        (["--config", "nothing.py"], "nothing.py: no such file", 2),
        (["--config", "nothing.txt"], "expected one of the suffixes .py, .yaml", 2),
        (["--eval-only"], "--eval-only needs --checkpoint", 2),
        (["--eval-only", "--checkpoint", "no.pth"], "no.pth: no such file", 2),
        (
            ["trian_cfg.max_iters=3"],
            "unknown config key (of 'trian_cfg.max_iters') 'trian_cfg'. Did you mean 'train_cfg'",
            1,
        ),
        (["--resume", "seed"], "override 'seed' must have the form key=value", 1),
        (["model.regularizer.lamda_ci=3"], "unknown setting 'lamda_ci'. Did you mean 'lambda_ci'", 1),
    ],
)
def test_what_is_wrong_on_the_command_line_is_named(mini, arguments, message, code):
    assert message in run("gcisg_mini.py", *arguments, code=code)


def test_missing_data_says_what_to_do(mini, monkeypatch):
    monkeypatch.setenv("GCISG_DATA", str(mini / "elsewhere"))
    assert "elsewhere/mini/classification/source: no such folder. Make the miniature" in run("gcisg_mini.py", code=1)


def test_help_names_every_option():
    output = run("gcisg_mini.py", "--help")
    assert all(
        option in output for option in ("--resume", "--eval-only", "--seed", "--work-dir", "--amp", "--num-gpus")
    )


# Those after CSG and ASG: test_recipes.py.
GCISGS = sorted(
    path.name for path in CONFIGS.glob("*_visda17.py") if not path.name.startswith(("csg", "asg", "oracle"))
)


@pytest.mark.parametrize("config", GCISGS)
def test_the_papers_settings_are_in_its_configs(config, monkeypatch):
    monkeypatch.setenv("GCISG_DATA", "somewhere")
    settings = Config.fromfile(CONFIGS / config)
    assert settings.train_dataloader.batch_size == 64
    optimizer = settings.optim_wrapper.optimizer
    assert (optimizer.type, optimizer.lr, optimizer.momentum, optimizer.weight_decay) == ("SGD", 1e-3, 0.9, 5e-4)
    assert "param_scheduler" not in settings
    data = settings.train_dataloader.dataset.dataset
    if config.startswith("cbst"):  # starts from another's model; the paper states no number of epochs
        assert settings.load_from.endswith(f"iter_{30 * 2381}.pth")
        assert (data.source.root, data.target.root) == ("somewhere/visda17/train", "somewhere/visda17/validation")
    else:
        assert settings.train_cfg.max_iters == 30 * 2381
        assert data.root == "somewhere/visda17/train"
    assert settings.model.backbone == "resnet101"
    assert (settings.model.hidden, settings.model.num_classes) == (512, 12)


@pytest.mark.parametrize("config", ["cbst_mini", "cbst_r101_visda17"])
def test_self_training_loads_what_the_readmes_command_leaves(config):
    settings = Config.fromfile(CONFIGS / f"{config}.py")
    start = Config.fromfile(CONFIGS / f"{settings.start.config}.py")
    folder = f"work_dirs/{settings.start.config}_frozen_norm"
    assert settings.load_from == f"{folder}/iter_{start.train_cfg.max_iters}.pth"
    command = f"{settings.start.config}.py {' '.join(settings.start.overrides)} --work-dir {folder} "
    assert command in " ".join((CONFIGS / "README.md").read_text().replace("\\\n", "").split())
