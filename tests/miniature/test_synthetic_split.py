"""The split `synthetic` of each task: synthetic images that no run trains on."""

from __future__ import annotations

from functools import partial
from pathlib import Path

import pytest

pytest.importorskip("detectron2")

from gcisg_suite.miniature import classification, folders, scenes
from gcisg_suite.miniature.criteria import SCORES
from gcisg_suite.miniature.evaluated import HELD_OUT_SEED, RESULT
from gcisg_suite.miniature.reference import shipped_reference
from gcisg_suite.tasks import TASKS

SHORT = {
    "classification": ["train_cfg.max_iters=2", "train_cfg.val_interval=2", "train_dataloader.batch_size=4"],
    "segmentation": ["train_cfg.max_iters=2", "train_cfg.val_interval=2"],
    "detection": ["SOLVER.MAX_ITER", "2", "SOLVER.STEPS", "()"],
}
HELD_OUT = {
    "classification": f"classification/source_{HELD_OUT_SEED}",
    "segmentation": f"scenes_{HELD_OUT_SEED}/gtav",
    "detection": f"scenes_{HELD_OUT_SEED}/sim10k",
}


@pytest.mark.parametrize("task", SCORES)
def test_a_finished_run_is_also_evaluated_on_synthetic_images_of_another_seed(task, monkeypatch, tmp_path):
    monkeypatch.setenv("GCISG_DATA", str(tmp_path / "data"))
    monkeypatch.setattr(folders, "in_parallel", map)
    mini = tmp_path / "data" / "mini"
    shipped_reference(mini)
    if task == "classification":
        digits = classification.real_digits
        monkeypatch.setattr(classification, "real_digits", lambda split: [part[::50] for part in digits(split)])
        monkeypatch.setattr(classification, "prepare_source", partial(classification.prepare_source, per_class=3))
        prepare = partial(classification.prepare_reference, per_class=2, val_per_class=1)
        monkeypatch.setattr(classification, "prepare_reference", prepare)
        classification.prepare(mini / "classification")
    else:
        monkeypatch.setattr(scenes, "prepare", partial(scenes.prepare, train_scenes=8, eval_scenes=2, progress=False))
        scenes.source(mini, 0)
    run = partial(TASKS[task].door("mini"), "baseline_mini", work_dir=tmp_path / "run", overrides=SHORT[task])

    first = run(["dev"])
    stamps = _stamps(tmp_path / "run")
    assert first.keys() == {"seconds", "dev"}
    assert not (mini / HELD_OUT[task]).exists()

    both = run(["dev", "synthetic"])
    assert (mini / HELD_OUT[task]).is_dir()
    assert both["dev"] == first["dev"]
    assert both["synthetic"].keys() == both["dev"].keys()
    assert both["synthetic"] != both["dev"]
    assert _stamps(tmp_path / "run") == stamps
    assert run(["dev", "synthetic"]) == both

    (tmp_path / "run" / RESULT).unlink()
    for image in (path for path in (mini / HELD_OUT[task]).rglob("*") if path.suffix in (".png", ".jpg")):
        image.write_bytes(b"no image")
    with pytest.raises(Exception, match=f"_{HELD_OUT_SEED}/"):  # what is evaluated are these images
        run(["dev", "synthetic"])


def _stamps(folder: Path) -> dict[Path, int]:
    """When the checkpoints were written."""
    found = {path: path.stat().st_mtime_ns for path in folder.glob("*.pth")}
    assert found
    return found
