"""LazyConfigs: told from mmengine's configs without running them, and with upstream's main trained with a method."""

import json
import re
import shutil
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("detectron2")
import torch

import gcisg_det  # noqa: F401  repairs Detectron2 0.5 before it is imported

# isort: split
from detectron2.config import instantiate

from gcisg_core.safe_load import read_checkpoint
from gcisg_det import lazy
from gcisg_suite.cli import main
from gcisg_suite.tasks import framework_of
from tests.coco.files import make
from tests.detection.scenes import picture
from tests.documents import blocks

ROOT = Path(__file__).parents[2]


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ("from detectron2.config import LazyCall as L\nmodel = L(dict)()", "detectron2_lazy"),
        ("import torch\nfrom detectron2 import model_zoo", "detectron2_lazy"),
        ("from ..common.coco import dataloader", "detectron2_lazy"),
        ("from gcisg_det.lazy import add_method", "detectron2_lazy"),
        ("_base_ = 'detectron2.py'\nmodel = dict(type='detectron2')", "mmengine"),
        ("from mmengine.config import read_base\nwith read_base():\n    from .base import *", "mmengine"),
        ("raise SystemExit('it was run')", "mmengine"),
        ("model = dict(", "mmengine"),
    ],
)
def test_is_told_by_its_imports_and_not_run(text, name, tmp_path):
    (tmp_path / "a config.py").write_text(text)
    assert framework_of(tmp_path / "a config.py").name == name


def test_the_configs_of_the_projects_are_mmengines():
    assert {framework_of(file).name for file in (ROOT / "projects").glob("*/*.py")} == {"mmengine"}


def test_what_cannot_be_done_is_said_in_a_line(tmp_path):
    (tmp_path / "lazy.py").write_text("from detectron2 import model_zoo\nmodel = dict()")
    with pytest.raises(SystemExit, match=r"lazy.py is a LazyConfig, which is for `train` and `eval`.*`regularizer.`"):
        main(["export", "--config", str(tmp_path / "lazy.py"), "--checkpoint", __file__, "--output", str(tmp_path)])
    with pytest.raises(SystemExit, match="defines no optimizer, lr_multiplier, dataloader, train, as"):
        main(["train", "--config", str(tmp_path / "lazy.py")])


SHRUNK = """
from gcisg_det.datasets import register_coco

for _name in ("synthetic", "real"):
    register_coco(_name, f"{folder}/{{_name}}/own.json", f"{folder}/{{_name}}")
_net = model.backbone.net
_net.img_size = model.backbone.square_pad = 64
_net.embed_dim, _net.depth, _net.num_heads, _net.window_size, _net.window_block_indexes = 32, 6, 2, 2, [0, 1, 3, 4]
model.backbone.out_channels = 32
model.roi_heads.num_classes = 2
model.roi_heads.box_head.conv_dims, model.roi_heads.box_head.fc_dims = [32], [32]
model.roi_heads.mask_head.conv_dims = [32, 32]
model.proposal_generator.head.in_channels = 32
model.roi_heads.box_head.input_shape.channels = model.roi_heads.mask_head.input_shape.channels = 32
model.proposal_generator.head.conv_dims = [-1]
model.roi_heads.box_predictor.input_shape.channels = 32
model.regularizer.queue_length = 8
dataloader.train.total_batch_size, dataloader.train.num_workers = 2, 0
for _part in (dataloader.train, dataloader.test):
    _part.mapper.augmentations = [_part.mapper.augmentations[0]]
    _part.mapper.augmentations[0].short_edge_length = 64
    _part.mapper.augmentations[0].max_size = 64
dataloader.test.num_workers = 0
train.max_iter, train.eval_period, train.log_period, train.seed = 4, 4, 1, 3
train.checkpointer.period = 2
"""


@pytest.fixture
def folder(tmp_path):
    """A LazyConfig and its two data sets of three images."""
    for name in ("synthetic", "real"):
        content = make()
        (tmp_path / name).mkdir()
        for image in content["images"]:
            picture(image["id"], size=(96, 64)).save(tmp_path / name / image["file_name"])
        (tmp_path / name / "own.json").write_text(json.dumps(content))
    shutil.copy(Path(__file__).with_name("lazy_retinanet.py"), tmp_path / "retinanet.py")
    return tmp_path


def lines_of(run):
    return [json.loads(line) for line in (run / "metrics.json").open()]


def test_trains_with_a_method_resumes_exactly_and_is_evaluated(folder, capsys, monkeypatch):
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    run = ["--config", str(folder / "retinanet.py"), "--output", str(folder / "run")]
    main(["train", *run, "--tracker", "mlflow"])
    lines = lines_of(folder / "run")
    (told,) = (folder / "run").glob("mlruns/*/*/metrics/loss_guidance_stage4")
    assert [line.split()[2] for line in told.read_text().splitlines()] == ["0", "1", "2", "3"]
    assert all(f"loss_{kind}_stage{stage}" in lines[0] for kind in ("guidance", "ci") for stage in (3, 4))
    assert "bbox/AP" in lines[-1]
    whole = read_checkpoint(folder / "run/model_final.pth")["model"]
    for name in ("model_final.pth", "model_0000003.pth"):
        (folder / "run" / name).unlink()
    (folder / "run/last_checkpoint").write_text("model_0000001.pth")
    main(["train", *run, "--resume"])
    (folder / "run/model_final.pth").unlink()
    (folder / "run/last_checkpoint").write_text("model_0000003.pth")
    main(["train", *run, "--resume"])  # stopped between its last periodic checkpoint and the final one
    with pytest.raises(SystemExit, match="config.yaml is a LazyConfig, which is for `train` and `eval`"):
        main(["report", str(folder / "run"), "--output", str(folder / "page.html")])
    with pytest.raises(SystemExit, match="retinanet.py: optimizer.lr is 'x', expected a value as 0.001"):
        main(["train", *run[:2], "--output", str(folder / "other"), "optimizer.lr=x"])
    resumed = read_checkpoint(folder / "run/model_final.pth")["model"]
    assert all(np.array_equal(value, resumed[name]) for name, value in whole.items())
    capsys.readouterr()
    checkpoint = ["--checkpoint", str(folder / "run/model_final.pth"), "--output", str(folder / "eval")]
    main(["eval", *run[:2], *checkpoint, "train.log_period=9"])
    assert "Task: bbox" in "".join(capsys.readouterr())

    plain = {name: torch.as_tensor(value) for name, value in whole.items() if not name.startswith("regularizer.")}
    bare = (folder / "retinanet.py").read_text().replace("add_method(model", "(lambda *_, **__: None)(model")
    (folder / "bare.py").write_text(bare)
    instantiate(lazy.read_config(str(folder / "bare.py")).model).load_state_dict(plain, strict=True)


def test_a_step_that_is_not_finite_is_recorded_and_run_again(folder, capsys):
    given = ["optimizer.lr=1e30", "lr_multiplier.warmup_factor=1.0"]
    with pytest.raises(SystemExit, match="nonfinite_iter.*train.on_nonfinite=skip leaves out such steps"):
        main(["train", "--config", str(folder / "retinanet.py"), "--output", str(folder / "run"), *given])
    (record,) = (folder / "run").glob("nonfinite_*.pth")
    capsys.readouterr()
    with pytest.raises(SystemExit, match="Add --trust"):
        main(["replay", str(record)])
    main(["replay", str(record), "--trust"])
    assert "The step is the same" in capsys.readouterr().out


@pytest.mark.detectron2_main
def test_the_documents_vitdet_trains_and_is_evaluated(folder):
    (code,) = (block.text for block in blocks("docs/your_model.md") if "mask_rcnn_vitdet" in block.text)
    own = re.sub(r"register_coco\(.*\n", "", code).replace("from gcisg_det.datasets import register_coco\n", "")
    (folder / "vitdet.py").write_text(own + SHRUNK.format(folder=folder))
    main(["train", "--config", str(folder / "vitdet.py"), "--output", str(folder / "run")])
    lines = lines_of(folder / "run")
    assert all(f"loss_{kind}_stage{stage}" in lines[0] for kind in ("guidance", "ci") for stage in (3, 4))
    assert {key.split("/")[0] for key in lines[-1]} >= {"bbox", "segm"}
