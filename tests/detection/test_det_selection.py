"""The checkpoints of a detection run are ranked while it trains; its evaluation still finds its own images."""

import json

import pytest

pytest.importorskip("detectron2")
import gcisg_det  # noqa: F401  repairs Detectron2 0.5 before it is imported

# isort: split
from gcisg_suite.analysis.task import Options
from gcisg_suite.selection.criteria import read_lines
from gcisg_suite.selection.run_checkpoints import checkpoints_of, evaluate_run, make_tasks
from gcisg_suite.tasks import read_config
from tests.detection.scenes import framework_log, make_sim10k, tiny_config, train


@pytest.fixture
def root(root):
    make_sim10k(root / "held_out", count=3)
    return root


def test_every_checkpoint_is_ranked(root, caplog):
    every = ["SELECTION.EVERY_CHECKPOINT", True, "SELECTION.BY", "energy", "SELECTION.SOURCE", str(root / "held_out")]
    cfg = tiny_config(root, root / "run", *every, "SOLVER.MAX_ITER", 4, "SOLVER.STEPS", (3,))
    with framework_log(caplog):
        train(cfg)
    lines = read_lines(root / "run")
    assert [line["iteration"] for line in lines] == [2, 4]
    assert [path.name for path in checkpoints_of(root / "run").values()] == ["model_0000001.pth", "model_0000003.pth"]
    assert all("held_out" in line["source_images"] for line in lines)
    assert all(line["cka"] == "no pretrained network to compare with" for line in lines)
    assert "Chosen by energy, without target labels: model_" in caplog.text
    results = json.loads((root / "run/inference/cityscapes_val_car_coco/results.json").read_text())
    assert results["dataset"] == "cityscapes_val_car_coco"


def test_the_images_need_no_annotations(root):
    cfg = tiny_config(root, root / "run", "SOLVER.MAX_ITER", 2, "SOLVER.STEPS", (1,))
    train(cfg)
    images = root / "held_out/sim10k/VOC2012/JPEGImages"
    files = enumerate(sorted(images.iterdir()))
    listed = [{"id": i, "file_name": path.name, "width": 128, "height": 96} for i, path in files]
    content = {"images": listed, "annotations": [], "categories": [{"id": 1, "name": "car"}]}
    (images / "unlabelled.json").write_text(json.dumps(content))
    config = read_config(root / "run/config.yaml", [])
    target, _ = make_tasks(config, Options(data=str(images / "unlabelled.json")))
    (line,) = evaluate_run(root / "run", target)
    assert isinstance(line["energy"], float)
    assert len(target) == 3
