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
from detectron2.checkpoint import DetectionCheckpointer
from detectron2.config import LazyConfig, instantiate
from detectron2.data import transforms as T

from gcisg_core.safe_load import read_checkpoint
from gcisg_det import lazy
from gcisg_det.predict import Predictor
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


def faults(text):
    """Texts of LazyConfigs that cannot be used -> what is said."""
    return {
        "import missing_package": r"config.py, line 2: cannot be executed \(ModuleNotFoundError: No module",
        "model = dict(": r"config.py, line 2: cannot be executed \(SyntaxError: '\(' was never closed",
        "model = dict()": "does not define optimizer, lr_multiplier, dataloader, train; see",
        text + "train['max_itr'] = 3": "unknown config key 'train.max_itr'. Did you mean 'train.max_iter'",
        text + "train['clip_grad'] = dict(enabled=True)": r"unknown config key 'train.clip_grad'.*del train.clip_grad",
        text + "dataloader['train'].batch = 3": "unknown config key 'dataloader.train.batch'",
    }


@pytest.mark.parametrize("number", range(6))
def test_a_config_that_cannot_be_used_is_said_in_a_line(number, tmp_path):
    text = Path(__file__).with_name("lazy_retinanet.py").read_text()
    own, message = [*faults(re.sub("register_coco\\(.*", "pass", text)).items()][number]
    (tmp_path / "config.py").write_text("from detectron2 import model_zoo\n" * (number < 3) + own)
    with pytest.raises(SystemExit, match=message):
        main(["train", "--config", str(tmp_path / "config.py"), "--output", str(tmp_path / "run")])
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("train.max_itr=3", "unknown config key 'train.max_itr'. Did you mean 'train.max_iter'"),
        ("model.backbone.bottom_up.stem.nrm=BN", r"Did you mean 'model.backbone.bottom_up.stem.norm'"),
        ("model.regularizer.lamda_ci=3", "model.regularizer: unknown setting 'lamda_ci'. Did you mean 'lambda_ci'"),
        ("optimizr.lr=3", "unknown config key 'optimizr.lr'. Did you mean"),
        ("train.max_iter", "the override 'train.max_iter' must be key=value"),
        ("train.max_iter.x=3", "train.max_iter is not a config"),
    ],
)
def test_an_override_of_a_key_that_nothing_reads_is_refused(override, message, folder, tmp_path):
    with pytest.raises(SystemExit, match=message):
        main(["train", "--config", str(folder / "retinanet.py"), "--output", str(tmp_path / "run"), override])


def test_overrides_may_add_what_a_node_takes(folder):
    given = [
        "optimizer.weight_decay=0.1",
        "train.cudnn_benchmark=true",
        "model.test_score_thresh=0.2",
        "+train.ddp=null",
    ]
    config = lazy.read_config(str(folder / "retinanet.py"), given)
    assert (config.optimizer.weight_decay, config.model.test_score_thresh) == (0.1, 0.2)


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


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A LazyConfig and its two data sets of three images."""
    root = tmp_path_factory.mktemp("lazy config")
    for name in ("synthetic", "real"):
        content = make()
        (root / name).mkdir()
        for image in content["images"]:
            picture(image["id"], size=(96, 64)).save(root / name / image["file_name"])
        (root / name / "own.json").write_text(json.dumps(content))
    shutil.copy(Path(__file__).with_name("lazy_retinanet.py"), root / "retinanet.py")
    return root


@pytest.fixture(scope="module")
def trained(folder):
    """The folder of a run of it, which MLflow was told of."""
    with pytest.MonkeyPatch.context() as patch:
        patch.delenv("MLFLOW_TRACKING_URI", raising=False)
        run = ["--config", str(folder / "retinanet.py"), "--output", str(folder / "trained"), "--tracker", "mlflow"]
        main(["train", *run])
    return folder / "trained"


def lines_of(run):
    return [json.loads(line) for line in (run / "metrics.json").open()]


def test_trains_with_a_method_resumes_exactly_and_is_evaluated(folder, trained, tmp_path, capsys):
    lines = lines_of(trained)
    (told,) = trained.glob("mlruns/*/*/metrics/loss_guidance_stage4")
    assert [line.split()[2] for line in told.read_text().splitlines()] == ["0", "1", "2", "3"]
    assert all(f"loss_{kind}_stage{stage}" in lines[0] for kind in ("guidance", "ci") for stage in (3, 4))
    assert "bbox/AP" in lines[-1]
    whole = read_checkpoint(trained / "model_final.pth")["model"]
    shutil.copytree(trained, tmp_path / "run")
    run = ["--config", str(folder / "retinanet.py"), "--output", str(tmp_path / "run")]
    for name in ("model_final.pth", "model_0000003.pth"):
        (tmp_path / "run" / name).unlink()
    (tmp_path / "run/last_checkpoint").write_text("model_0000001.pth")
    main(["train", *run, "--resume"])
    (tmp_path / "run/model_final.pth").unlink()
    (tmp_path / "run/last_checkpoint").write_text("model_0000003.pth")
    main(["train", *run, "--resume"])  # stopped between its last periodic checkpoint and the final one
    with pytest.raises(SystemExit, match="retinanet.py: optimizer.lr is 'x', expected a value like 0.001"):
        main(["train", *run[:2], "--output", str(tmp_path / "other"), "optimizer.lr=x"])
    resumed = read_checkpoint(tmp_path / "run/model_final.pth")["model"]
    assert all(np.array_equal(value, resumed[name]) for name, value in whole.items())
    capsys.readouterr()
    checkpoint = ["--checkpoint", str(trained / "model_final.pth"), "--output", str(tmp_path / "eval")]
    main(["eval", *run[:2], *checkpoint, "train.log_period=9"])
    assert "Task: bbox" in "".join(capsys.readouterr())


def test_the_exported_config_makes_the_plain_model_with_the_same_outputs(folder, trained, tmp_path):
    command = ["--config", str(folder / "retinanet.py"), "--checkpoint", str(trained / "model_final.pth")]
    main(["export", *command, "--output", str(tmp_path / "release")])
    (file,) = (tmp_path / "release").glob("*.pth")
    text = file.with_suffix(".yaml").read_text()
    assert "gcisg" not in text
    plain = LazyConfig.load(str(file.with_suffix(".yaml")))
    assert plain.train.init_checkpoint == file.name
    model = instantiate(plain.model).eval()
    DetectionCheckpointer(model).load(str(file))
    ours = Predictor(lazy.read_config(command[1]), command[3], "cpu", 0.0)
    image = np.random.default_rng(0).integers(0, 256, (64, 96, 3), np.uint8)
    sized = T.AugInput(image[..., ::-1])
    T.AugmentationList([*instantiate(plain.dataloader.test.mapper.augmentations)])(sized)
    given = {"image": torch.as_tensor(sized.image.transpose(2, 0, 1).copy()), "height": 64, "width": 96}
    with torch.no_grad():
        theirs = model([given])[0]["instances"]
    (found,) = ours.predict([image])
    assert len(found) > 0
    assert torch.equal(found.pred_boxes.tensor, theirs.pred_boxes.tensor)
    assert torch.equal(found.scores, theirs.scores)
    known = json.loads(file.with_suffix(".json").read_text())
    assert (known["classes"], known["category_ids"]) == (["cup", "box"], [1, 2])
    with pytest.raises(SystemExit, match="from a LazyConfig. Give the .py that was trained"):
        main(["export", "--config", str(trained / "config.yaml"), *command[2:], "--output", str(tmp_path)])


@pytest.mark.remedy("Define it in a module that can be imported without this suite, and name it in the config")
@pytest.mark.parametrize(
    ("code", "message"),
    [
        ("model.parent = Own", "model: builds Own, which is defined in the config file. Define"),
        (
            "model.test_nms_thresh = lambda: 0.5",
            "model.test_nms_thresh: is a function without a name, such as a lambda",
        ),
    ],
)
def test_a_part_that_the_plain_framework_has_not_is_named(folder, trained, tmp_path, code, message, monkeypatch):
    checkpoint = ["--checkpoint", str(trained / "model_final.pth"), "--output", str(tmp_path)]
    own = f"\n\nclass Own(RetinaNet):\n    pass\n\n{code}\n"
    (folder / "own.py").write_text((folder / "retinanet.py").read_text() + own)
    with pytest.raises(SystemExit, match=message):
        main(["export", "--config", str(folder / "own.py"), *checkpoint])
    if "Own" in code:
        start = "from detectron2.modeling.meta_arch.retinanet import RetinaNet\n"
        (tmp_path / "own_parts.py").write_text(start + own.replace(code, ""))
        monkeypatch.syspath_prepend(tmp_path)
        (folder / "own.py").write_text(f"{(folder / 'retinanet.py').read_text()}\nfrom own_parts import Own\n{code}\n")
        main(["export", "--config", str(folder / "own.py"), *checkpoint])
        assert len([*tmp_path.glob("*.pth")]) == 1


@pytest.mark.remedy("Give the .py that was trained, whose code is run: --config FILE.py")
@pytest.mark.remedy("lazy/config.py: Add --trust if the run is your own, or name the config that you trained with")
def test_the_other_commands_take_it(folder, trained, tmp_path, capsys):
    command = ["--config", str(folder / "retinanet.py")]
    checkpoint = ["--checkpoint", str(trained / "model_final.pth")]
    picture_file = str(folder / "real" / make()["images"][0]["file_name"])
    main(
        ["predict", picture_file, *command, *checkpoint, "--output", str(tmp_path / "p"), "model.test_score_thresh=0.0"]
    )
    boxes = json.loads((tmp_path / "p/predictions.json").read_text())
    assert {box["category_id"] for box in boxes} <= {1, 2}
    capsys.readouterr()
    main(["doctor", *command])
    assert re.search(r"gcisg +stages_ci +3 res4, 4 res5", capsys.readouterr().out)
    page = ["--output", str(tmp_path / "analysis"), "--data", str(folder / "synthetic/own.json"), "--device", "cpu"]
    main(["analyze", *command, *checkpoint, *page, "--reference", checkpoint[1], "model.test_score_thresh=0.0"])
    found = json.loads((tmp_path / "analysis/analysis.json").read_text())
    assert found["data"]["images"] == 3
    assert found["checkpoints"][0]["metrics"]["cka"] == pytest.approx(1)
    shutil.copytree(trained, tmp_path / "run")
    with pytest.raises(SystemExit, match="config.yaml: was written by training.*--config FILE.py"):
        main(["select", str(tmp_path / "run")])
    main(["select", str(tmp_path / "run"), *command, "--source", str(folder / "real/own.json")])
    assert "model_0000003.pth" in (tmp_path / "run/selection.jsonl").read_text()
    (tmp_path / "run/config.yaml").rename(tmp_path / "config.yaml")
    text = (folder / "retinanet.py").read_text().replace("Path(__file__).parent", f"Path({str(folder)!r})")
    (tmp_path / "run/retinanet.py").write_text(text)
    with pytest.raises(SystemExit, match="retinanet.py: is a LazyConfig: .* Add --trust if the run is your own"):
        main(["select", str(tmp_path / "run")])
    capsys.readouterr()
    main(["select", str(tmp_path / "run"), "--trust"])
    assert "model_0000003.pth" in capsys.readouterr().out
    (tmp_path / "run/retinanet.py").unlink()
    (tmp_path / "config.yaml").rename(tmp_path / "run/config.yaml")
    main(["report", str(tmp_path / "run"), "--output", str(tmp_path / "page.html")])
    page = (tmp_path / "page.html").read_text()
    assert "Trained on synthetic; evaluated on real." in page
    assert "the images of a LazyConfig are only known by running it" in page


@pytest.mark.remedy("Add --trust if the record is your own")
def test_a_step_that_is_not_finite_is_recorded_and_run_again(folder, tmp_path, capsys):
    given = ["optimizer.lr=1e30", "lr_multiplier.warmup_factor=1.0"]
    with pytest.raises(SystemExit, match="nonfinite_iter.*To skip such steps instead: train.on_nonfinite=skip"):
        main(["train", "--config", str(folder / "retinanet.py"), "--output", str(tmp_path / "run"), *given])
    (record,) = (tmp_path / "run").glob("nonfinite_*.pth")
    capsys.readouterr()
    with pytest.raises(SystemExit, match="Add --trust"):
        main(["replay", str(record)])
    main(["replay", str(record), "--trust"])
    assert "The step is the same" in capsys.readouterr().out


@pytest.mark.detectron2_main
def test_the_documents_vitdet_trains_and_is_evaluated(folder, tmp_path):
    (code,) = (block.text for block in blocks("docs/your_model.md") if "mask_rcnn_vitdet" in block.text)
    own = re.sub(r"register_coco\(.*\n", "", code).replace("from gcisg_det.datasets import register_coco\n", "")
    (folder / "vitdet.py").write_text(own + SHRUNK.format(folder=folder))
    main(["train", "--config", str(folder / "vitdet.py"), "--output", str(tmp_path / "run")])
    lines = lines_of(tmp_path / "run")
    assert all(f"loss_{kind}_stage{stage}" in lines[0] for kind in ("guidance", "ci") for stage in (3, 4))
    assert {key.split("/")[0] for key in lines[-1]} >= {"bbox", "segm"}
