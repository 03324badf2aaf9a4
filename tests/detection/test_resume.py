"""A killed detection run resumes bit for bit, and its loader from any position."""

import importlib
import json
import re
import shutil
import signal
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch

pytest.importorskip("detectron2")
import gcisg_det  # noqa: F401  repairs Detectron2 0.5 before it is imported

# isort: split
from detectron2.data import get_detection_dataset_dicts
from detectron2.utils.events import EventStorage

from gcisg_core.integrations.detectron2.resume import OF_THE_CLOCK, ExactResume, build_train_loader, seeded
from gcisg_core.problems import DataError
from gcisg_det.coco_evaluator import BoxEvaluator
from gcisg_det.mapper import build_mapper
from gcisg_suite.report.runs import read_run
from tests.detection import train_once
from tests.detection.scenes import (
    RETINA,
    framework_log,
    tiny_config,
    train,
)
from tests.processes import status_of


def final(output):
    return torch.load(output / "model_final.pth", weights_only=True)


def assert_equal_checkpoints(first, second):
    assert first["model"].keys() == second["model"].keys()
    assert all(torch.equal(first["model"][key], second["model"][key]) for key in first["model"])
    momentum = [state["trainer"]["_trainer"]["optimizer"]["state"] for state in (first, second)]
    assert len(momentum[0]) > 10
    assert all(torch.equal(momentum[0][i]["momentum_buffer"], momentum[1][i]["momentum_buffer"]) for i in momentum[0])
    assert first["trainer"]["hooks"] == second["trainer"]["hooks"]


def logged(output):
    return [
        {name: value for name, value in entry.items() if name not in OF_THE_CLOCK}
        for entry in read_run(output).training
    ]


def test_killed_run_resumes_bit_equal_with_other_workers(root):
    train(tiny_config(root, root / "whole", config="gcisg_r50_fpn"))
    assert status_of(train_once.train_until_killed, root, root / "killed", 3) == -signal.SIGKILL
    assert not (root / "killed/model_final.pth").exists()
    assert (root / "killed/last_checkpoint").read_text() == "model_0000001.pth"
    assert status_of(train_once.resume_until_saved, root, root / "killed", "model_0000003") == -signal.SIGKILL
    assert [entry["step"] for entry in logged(root / "killed")] == [1, 2, 3]
    train(tiny_config(root, root / "killed", "DATALOADER.NUM_WORKERS", 2, config="gcisg_r50_fpn"), resume=True)
    # Target, reference and queue are among them.
    assert_equal_checkpoints(final(root / "whole"), final(root / "killed"))
    assert logged(root / "killed") == logged(root / "whole")
    assert "cityscapes_val_car_coco/bbox/AP50" in read_run(root / "killed").metrics[-1]


@pytest.mark.remedy("Use {}.build_train_loader(cfg, mapper) for an exact resume")
def test_a_loader_of_ones_own_that_begins_anew_is_named(root, caplog):
    cfg = tiny_config(root, root / "run")
    hook = ExactResume(3)
    hook.trainer = SimpleNamespace(data_loader=[], storage=EventStorage(), start_iter=2, iter=2)
    with framework_log(caplog):
        hook.before_train()
    (home,) = {
        *re.findall(r"cannot resume exactly: .* (\S+)\.build_train_loader\(cfg, mapper\) for an exact", caplog.text)
    }
    hook.trainer.data_loader = importlib.import_module(home).build_train_loader(cfg, build_mapper(cfg, True))
    hook.before_train()
    assert hook.trainer.data_loader.start == 2


def test_resume_keeps_loss_normalizer_and_drawn_seed(root):
    cfg = tiny_config(root, root / "run", *RETINA, "SOLVER.MAX_ITER", 4, "SOLVER.STEPS", (3,), "SEED", -1)
    train(cfg)
    whole = final(root / "run")
    (root / "run/last_checkpoint").write_text("model_0000001.pth")
    train(cfg, resume=True)
    assert_equal_checkpoints(whole, final(root / "run"))
    state = whole["trainer"]["hooks"]["ExactResume"]
    assert state["seed"] >= 0
    assert state["loss_normalizer"] != 100


def test_run_stopped_before_its_final_checkpoint_ends_complete(root):
    """Between the last periodic checkpoint and the final one, both of the last step."""
    cfg = tiny_config(root, root / "run", "SOLVER.MAX_ITER", 2, "SOLVER.STEPS", (1,), "SOLVER.CHECKPOINT_PERIOD", 2)
    train(cfg)
    whole, files = final(root / "run"), {path.relative_to(root) for path in (root / "run").rglob("*")}
    steps = [entry["step"] for entry in read_run(root / "run").metrics]
    (root / "run/model_final.pth").unlink()
    shutil.rmtree(root / "run/inference")
    (root / "run/last_checkpoint").write_text("model_0000001.pth")
    train(cfg, resume=True)
    assert_equal_checkpoints(whole, final(root / "run"))
    assert final(root / "run")["iteration"] == whole["iteration"] == 1
    assert (root / "run/last_checkpoint").read_text() == "model_final.pth"
    assert [entry["step"] for entry in read_run(root / "run").metrics] == steps
    assert {path.relative_to(root) for path in (root / "run").rglob("*")} >= {f for f in files if "event" not in f.name}


def test_a_run_killed_in_an_evaluation_makes_it_up_once(root, monkeypatch):
    cfg = tiny_config(root, root / "run", "SOLVER.MAX_ITER", 3, "SOLVER.STEPS", (1,), "SOLVER.CHECKPOINT_PERIOD", 2)
    cfg.defrost()
    cfg.TEST.EVAL_PERIOD = 2

    def killed(*_):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(BoxEvaluator, "process", killed)
        with pytest.raises(KeyboardInterrupt):
            train(cfg)

    def evaluated():
        lines = map(json.loads, (root / "run/metrics.json").read_text().splitlines())
        return [line["iteration"] for line in lines if "cityscapes_val_car_coco/bbox/AP50" in line]

    assert evaluated() == []
    train(cfg, resume=True)
    assert evaluated()[0] == 1
    assert evaluated()[1:]
    (root / "run/model_final.pth").unlink()
    (root / "run/last_checkpoint").write_text("model_0000001.pth")
    train(cfg, resume=True)
    assert evaluated().count(1) == 1


def signature(batches, count):
    return [[(item["file_name"], item["image"].sum().item()) for item in next(batches)] for _ in range(count)]


@pytest.mark.parametrize("grouping", [False, True])
def test_loader_position_does_not_depend_on_workers_or_start(root, grouping):
    crop = ["INPUT.CROP.ENABLED", True, "INPUT.CROP.SIZE", [0.7, 0.7]]
    cfg = tiny_config(root, root / "out", "DATALOADER.ASPECT_RATIO_GROUPING", grouping, *crop)
    records = get_detection_dataset_dicts(list(cfg.DATASETS.TRAIN))

    def batches(start, workers):
        loader = build_train_loader(cfg, build_mapper(cfg, True))
        if grouping:  # two portrait images, so that a bucket is half full at times
            loader.sizes = [(2, 1) if i % 3 else (1, 2) for i in range(len(records))]
        loader.seed, loader.start, loader.num_workers = 5, start, workers
        return iter(loader)

    whole = signature(batches(0, 0), 9)
    assert signature(batches(4, 0), 5) == whole[4:]
    assert signature(batches(4, 2), 5) == whole[4:]
    assert len({name for batch in whole for name, _ in batch}) == 6
    sums = [total for batch in whole for _, total in batch]
    assert len(set(sums)) == len(sums)  # every visit of an image is augmented anew


def test_a_bad_image_is_replaced_where_told(root, caplog):
    cfg = tiny_config(root, root / "out", "INPUT.ON_BAD_SAMPLE", "skip")
    records = get_detection_dataset_dicts(list(cfg.DATASETS.TRAIN))
    bad = records[0]["file_name"]
    Path(bad).write_bytes(b"")

    def names(workers):
        loader = build_train_loader(cfg, build_mapper(cfg, True))
        loader.seed, loader.num_workers = 5, workers
        return signature(iter(loader), 6)

    found = names(0)
    assert found == names(2)
    assert bad not in {name for batch in found for name, _ in batch}
    assert f"Skipped: {bad}: not a readable image" in caplog.text
    with pytest.raises(DataError, match=r"not a readable image"):
        build_mapper(cfg, False)(records[0])
    with pytest.raises(ValueError, match=r"INPUT.ON_BAD_SAMPLE must be 'error' or 'skip', got 'pass'"):
        tiny_config(root, root / "out", "INPUT.ON_BAD_SAMPLE", "pass")


def test_seeded_restores_the_generators():
    torch.manual_seed(0)
    np.random.seed(0)
    expected = torch.rand(1), np.random.rand()
    torch.manual_seed(0)
    np.random.seed(0)
    with seeded(1, 2):
        inside = torch.rand(1).item(), np.random.rand()
    assert (torch.rand(1), np.random.rand()) == expected
    with seeded(1, 2):
        assert (torch.rand(1).item(), np.random.rand()) == inside
