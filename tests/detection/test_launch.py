"""`tools/train_net.py` with a Detectron2 config: train, resume, evaluate, several processes, and weights that match."""

import json
import pickle
from argparse import Namespace

import pytest
import torch

pytest.importorskip("detectron2")
import gcisg_det  # noqa: F401  repairs Detectron2 0.5 before it is imported

# isort: split
from detectron2.config import get_cfg
from detectron2.modeling import build_model

from gcisg_core.integrations.detectron2.checkpoints import SafeCheckpointer
from gcisg_core.problems import DataError
from gcisg_det import engine
from gcisg_det.config import read_config
from gcisg_suite.cli import main
from gcisg_suite.rows import Framework
from tests.command import texts_in
from tests.detection import train_once
from tests.detection.scenes import (
    PROJECT,
    TINY,
    framework_log,
    tiny_config,
)
from tests.processes import spawn

QUEUE = ["REGULARIZER.QUEUE_LENGTH", 32]
METRIC = "cityscapes_val_car_coco/bbox/AP50"


def command(root, *arguments, config="gcisg_r50_fpn", overrides=()):
    queue = QUEUE if config.startswith("gcisg") else []
    settings = map(str, [*TINY, *queue, "DATASETS.ROOT", root, *overrides])
    config = str(PROJECT / f"{config}.yaml")
    main(["train", "--config", config, "--work-dir", str(root / "run"), *arguments, "--", *settings])


def metrics(root):
    return [json.loads(line) for line in (root / "run/metrics.json").read_text().splitlines()]


def test_command_trains_resumes_and_evaluates(root, capfd):
    command(root, "--seed", "5", overrides=["SOLVER.MAX_ITER", 2, "SOLVER.STEPS", (1,)])
    logged = {key for line in metrics(root) for key in line}
    assert {METRIC, "regularizer/ci_match_stage4", "loss_guidance_stage3"} <= logged
    assert "cityscapes_val_car_coco (coco boxes): AP " in capfd.readouterr().out
    assert list((root / "run").glob("events.out.tfevents*"))
    first = torch.load(root / "run/model_final.pth", weights_only=True)
    with (root / "run/metrics.json").open("a") as log:
        log.write('{"data_time": 0.063')  # a kill in the middle of a line
    command(root, "--seed", "5", "--resume", overrides=["SOLVER.MAX_ITER", 4, "SOLVER.STEPS", (1,)])
    final = torch.load(root / "run/model_final.pth", weights_only=True)
    assert (first["iteration"], final["iteration"]) == (1, 3)
    assert final["trainer"]["hooks"]["ExactResume"]["seed"] == 5
    captured = "regularizer.reference.encoder.res5.0.conv1.weight"
    assert torch.equal(first["model"][captured], final["model"][captured])
    results = root / "run/inference/cityscapes_val_car_coco/results.json"
    results.unlink()
    checkpoint = str(root / "run/model_final.pth")
    for config in ("gcisg_r50_fpn", "baseline_r50_fpn"):  # the detector is the same with and without the method
        command(root, "--eval-only", "--checkpoint", checkpoint, config=config)
        found = json.loads(results.read_text())
        assert found["convention"] == "coco"
        assert found["results"]["bbox"]["AP50"] == pytest.approx(metrics(root)[-1][METRIC], nan_ok=True)
    with pytest.raises(
        SystemExit, match=r"model_final.pth: it does not fit this config's model: .*has the shape.*Give"
    ):
        command(root, "--eval-only", "--checkpoint", checkpoint, overrides=["MODEL.FPN.OUT_CHANNELS", 16])
    files = texts_in(root / "run")
    with pytest.raises(SystemExit, match=r"does not fit this config's model: .*is missing"):
        command(root, "--resume", overrides=["REGULARIZER.STAGES_CI", [2, 3]])
    assert texts_in(root / "run") == files  # the run's identity and config


def test_two_processes_hold_the_same_queue_and_target(root, monkeypatch):
    monkeypatch.setattr(Framework, "door", lambda *_: train_once.train_and_compare)
    monkeypatch.setattr(torch.multiprocessing, "spawn", spawn)
    scaled = ["SOLVER.REFERENCE_WORLD_SIZE", 1]
    command(root, "--num-gpus", "2", overrides=["SOLVER.MAX_ITER", 4, "SOLVER.STEPS", (2,), *scaled])
    report = json.loads((root / "run/ranks.json").read_text())
    assert report["ranks"] == 2
    assert all(report["equal"].values())
    assert any("momentum_encoder" in name for name in report["equal"])
    # 4 iterations on one process are 2 on two, with twice the images: 2 x (4 images x 2 views).
    assert report["pointer"] == 16
    losses = [line["total_loss"] for line in metrics(root) if "total_loss" in line]
    assert losses
    assert torch.tensor(losses).isfinite().all()


def test_bfloat16_on_cpu_by_the_command(root, monkeypatch):
    cast, apply = [], engine.train_in_bfloat16
    monkeypatch.setattr(engine, "train_in_bfloat16", lambda model: cast.append(apply(model)))
    command(root, "--amp", overrides=["SOLVER.MAX_ITER", 1, "DATASETS.TEST", ()])
    assert len(cast) == 1
    assert metrics(root)[-1]["total_loss"] < float("inf")


def test_output_goes_to_a_folder_of_the_configs_name():
    config = str(PROJECT / "gcisg_r101_fpn.yaml")
    arguments = Namespace(config=config, overrides=[], seed=None, amp=False, work_dir=None)
    assert engine.configure(arguments).OUTPUT_DIR == "work_dirs/gcisg_r101_fpn"
    arguments.overrides = ["OUTPUT_DIR", "elsewhere"]
    assert engine.configure(arguments).OUTPUT_DIR == "elsewhere"
    assert get_cfg().OUTPUT_DIR != "elsewhere"


def test_command_line_faults_are_named_before_anything_starts(root):
    with pytest.raises(SystemExit, match=r"gcisg_r50_fpn.yaml: REGULARIZER .*'lamda_ci'. Did you mean 'lambda_ci'"):
        command(root, overrides=["REGULARIZER.LAMDA_CI", 1.0])
    with pytest.raises(SystemExit, match=r"nearest valid key is SOLVER.BASE_LR"):
        command(root, overrides=["SOLVER.BASE_RL", 1.0])
    with pytest.raises(SystemExit, match=r"--dist-url auto works on one machine"):
        command(root, "--num-machines", "2")
    assert not (root / "run").exists()


def test_rotated_boxes_are_refused_by_name():
    rotated = ["MODEL.PROPOSAL_GENERATOR.NAME", "RRPN", "DATASETS.TRAIN", ("a",)]
    with pytest.raises(ValueError, match="RRPN: rotated boxes need a custom mapper and evaluator"):
        engine.Trainer.build_train_loader(read_config(PROJECT / "gcisg_r50_fpn.yaml", rotated))


def test_pretrained_names_reach_the_backbone_and_not_its_copies(root, caplog):
    """MSRA's files are matched by the ends of names, which the target's and the reference's share."""
    cfg = tiny_config(root, root / "run", config="gcisg_r50_fpn")
    torch.manual_seed(0)
    source, model = build_model(cfg), build_model(cfg)
    weights = {key: value.numpy() for key, value in source.backbone.bottom_up.state_dict().items()}
    content = {"model": weights, "__author__": "someone", "matching_heuristics": True}
    (root / "weights.pkl").write_bytes(pickle.dumps(content))
    names = set(model.state_dict())
    with framework_log(caplog):
        SafeCheckpointer(model).load(str(root / "weights.pkl"))
    assert set(model.state_dict()) == names
    assert "regularizer" not in caplog.text
    loaded = model.backbone.bottom_up.state_dict()
    assert all(torch.equal(loaded[key], torch.from_numpy(value)) for key, value in weights.items())
    model.regularizer.init_from_student()
    target = model.regularizer.momentum_encoder.average.module.state_dict()
    assert all(torch.equal(target[key], loaded[key]) for key in loaded)


def test_weights_of_a_gcisg_run_start_a_new_run_afresh(root):
    cfg = tiny_config(root, root / "run", config="gcisg_r50_fpn")
    source, model = build_model(cfg), build_model(cfg)
    source.regularizer.init_from_student()
    torch.save({"model": source.state_dict()}, root / "weights.pth")
    SafeCheckpointer(model, str(root / "run")).resume_or_load(str(root / "weights.pth"))
    assert not model.regularizer.captured
    assert torch.equal(model.backbone.fpn_lateral2.weight, source.backbone.fpn_lateral2.weight)


def test_strict_loading_refuses_a_part():
    model = build_model(read_config(PROJECT / "baseline_r50_fpn.yaml", TINY))
    state = {key: value for key, value in model.state_dict().items() if "fpn_output5" not in key}
    checkpointer = SafeCheckpointer(model, strict=True)
    checkpointer.file = "part.pth"
    with pytest.raises(DataError, match=r"part.pth: it does not fit this config's model: .*fpn_output5.* is missing"):
        checkpointer._load_model({"model": state})
