"""The miniature for detection: pretrained weights fit the detector, its configs train, the demonstration shows them."""

import json

import numpy as np
import pytest
import torch

pytest.importorskip("detectron2")
import gcisg_det  # noqa: F401  repairs Detectron2 0.5 before it is imported

# isort: split
from detectron2.modeling import build_model

from gcisg_core.integrations.detectron2.checkpoints import SafeCheckpointer
from gcisg_det.config import read_config
from gcisg_det.demo import detection_section
from gcisg_det.differences import differences, matches
from gcisg_det.engine import train_and_test
from gcisg_det.mini import SPLITS
from gcisg_suite.miniature import scenes
from gcisg_suite.miniature.reference import shipped_reference
from gcisg_suite.report.demonstration import read_both
from gcisg_suite.report.differences import draw
from tests.detection.scenes import PROJECT
from tests.detection.test_meta_arch import batch, step


@pytest.mark.parametrize("name", ["baseline_mini", "gcisg_mini"])
def test_the_shipped_reference_fits_the_configs(name, tmp_path):
    file = shipped_reference(tmp_path)
    model = build_model(read_config(PROJECT / f"{name}.yaml", ["MODEL.DEVICE", "cpu"])).train()
    SafeCheckpointer(model).load(str(file))
    weights = torch.load(file, weights_only=True)
    own = model.backbone.bottom_up.state_dict()
    assert len(own) > 50
    assert all(torch.equal(value, weights[key]) for key, value in own.items() if "num_batches" not in key)
    losses, _ = step(model, batch([(96, 128), (96, 128)]))
    assert ("loss_guidance_stage4" in losses) == (name == "gcisg_mini")
    assert all(value.isfinite() for value in losses.values())


@pytest.mark.parametrize("norm", ["FrozenBN", "BN"])
def test_the_configs_norm_says_whether_statistics_are_trained(norm):
    settings = ["MODEL.DEVICE", "cpu", "MODEL.RESNETS.NORM", norm]
    network = build_model(read_config(PROJECT / "baseline_mini.yaml", settings)).train().backbone.bottom_up
    before = network.bn1.running_mean.clone()
    network(torch.rand(2, 3, 32, 32))
    assert torch.equal(before, network.bn1.running_mean) == (norm == "FrozenBN")


def test_data_folder_of_the_miniature_follows_the_environment(monkeypatch):
    monkeypatch.setenv("GCISG_DATA", "/elsewhere")
    cfg = read_config(PROJECT / "gcisg_mini.yaml")
    assert cfg.DATASETS.ROOT == "/elsewhere/mini/scenes"
    assert cfg.MODEL.WEIGHTS.startswith("/elsewhere/mini/")


def test_any_config_is_trained_and_measured_on_its_first_test_set(monkeypatch, tmp_path):
    monkeypatch.setenv("GCISG_DATA", str(tmp_path))
    scenes.prepare(tmp_path / "mini" / "scenes", train_scenes=8, eval_scenes=5, progress=False)
    overrides = ["SOLVER.MAX_ITER", "2", "SOLVER.STEPS", "()", "MODEL.WEIGHTS", ""]
    result = train_and_test(PROJECT / "baseline_mini.yaml", tmp_path / "run", overrides, 0)
    written = json.loads((tmp_path / "run/inference/mini_dev/results.json").read_text())
    assert result["test"] == {key: written["results"]["bbox"][key] for key in ("AP", "AP50", "AP75")}


def test_demonstration_trains_both_and_shows_what_was_measured(monkeypatch, tmp_path):
    monkeypatch.setenv("GCISG_DATA", str(tmp_path))
    scenes.prepare(tmp_path / "mini" / "scenes", train_scenes=8, eval_scenes=5, progress=False)
    shipped_reference(tmp_path / "mini")
    section = detection_section(tmp_path / "runs", ["SOLVER.MAX_ITER", "2", "SOLVER.STEPS", "()"])
    stamps = {path: path.stat().st_mtime_ns for path in (tmp_path / "runs").rglob("*.pth")}
    assert detection_section(tmp_path / "runs").rows == section.rows
    assert {path: path.stat().st_mtime_ns for path in (tmp_path / "runs").rglob("*.pth")} == stamps
    assert section.columns == ["metric", "baseline", "GCISG", "gain"]
    measured = json.loads(
        (tmp_path / "runs" / "gcisg_mini" / "inference" / SPLITS["test"] / "results.json").read_text()
    )
    assert section.rows[0][2] == f"{measured['results']['bbox']['AP']:.2f}"
    digits = sorted(item.box[:2] for item in scenes.real_scene("test", 0).objects)
    drawn = sorted(patch.get_xy() for patch in section.pictures[-1].figure.axes[0].patches)
    assert np.array(drawn) == pytest.approx(np.array(digits), abs=1)
    assert "mini_test" in section.pictures[-1].caption
    texts = sorted(text.get_text() for text in section.pictures[-1].figure.axes[0].texts)
    assert texts == sorted(str(item.digit) for item in scenes.real_scene("test", 0).objects)

    truth = json.loads((tmp_path / "mini/scenes/cityscapes/test.json").read_text())["annotations"]
    _found(tmp_path / "runs/baseline_mini", truth[:1])
    _found(tmp_path / "runs/gcisg_mini", truth[1:])
    found = differences(read_both(tmp_path / "runs"))
    assert found.summary == f"GCISG fixes {len(truth) - 1} and breaks 1 of {len(truth)} digits in 5 test scenes"
    draw({"Detection": found})


def _found(run, boxes):
    """An evaluation that found these."""
    results = [{**{key: item[key] for key in ("image_id", "category_id", "bbox")}, "score": 0.5} for item in boxes]
    (run / "inference" / SPLITS["test"] / "coco_instances_results.json").write_text(json.dumps(results))


@pytest.mark.parametrize(
    ("box", "category", "hit"),
    [
        ((10, 10, 20, 40), 3, True),
        ((10, 10, 20, 40), 4, False),
        ((10, 10, 20, 20), 3, True),  # an IoU of 0.5
        ((10, 10, 20, 19), 3, False),
        ((60, 10, 20, 40), 3, False),
    ],
)
def test_a_digit_is_found_by_a_box_of_its_class_that_overlaps_it_by_half(box, category, hit):
    digit, other = ({"bbox": at, "category_id": 3} for at in ((10, 10, 20, 40), (90, 50, 10, 10)))
    found = {"bbox": box, "category_id": category}
    assert matches([digit, other], [found]).tolist() == [[hit], [False]]
    assert matches([digit, other], []).shape == (2, 0)
    assert matches([], [found]).shape == (0, 1)
