"""Configs of the detection project: unknown keys, and no code that they could run."""

from functools import partial

import pytest

pytest.importorskip("detectron2")
import gcisg_det  # noqa: F401  repairs Detectron2 0.5 before it is imported

# isort: split

from gcisg_core.problems import DataError
from gcisg_det.config import read_config
from gcisg_suite.tasks import read_config as read_any_config
from tests.detection.scenes import (
    PROJECT,
)


def test_unknown_key_is_refused_with_the_nearest(tmp_path):
    file = tmp_path / "typo.yaml"
    file.write_text("SOLVER:\n  BASE_RL: 0.1\n")
    with pytest.raises(ValueError, match=r"unknown config key SOLVER.BASE_RL; the nearest valid key is SOLVER.BASE_LR"):
        read_config(file)
    with pytest.raises(ValueError, match=r"INPUT.COLOR_JITER; the nearest valid key is INPUT.COLOR_JITTER"):
        read_config(PROJECT / "baseline_r50_fpn.yaml", ["INPUT.COLOR_JITER", "[0, 0, 0, 0]"])
    with pytest.raises(ValueError, match=r"odd length"):
        read_config(PROJECT / "baseline_r50_fpn.yaml", ["SEED"])
    with pytest.raises(FileNotFoundError, match=r"absent.yaml"):
        read_config(tmp_path / "absent.yaml")


@pytest.mark.parametrize("reader", [read_config, partial(read_any_config, overrides=[])])  # of analyze and select
def test_a_config_runs_no_code(tmp_path, reader):
    tag = f"!!python/object/apply:os.system ['touch {tmp_path / 'ran'}']"
    (tmp_path / "evil.yaml").write_text(f"SEED: 1\nMODEL:\n  WEIGHTS: {tag}\n")
    (tmp_path / "child.yaml").write_text("_BASE_: evil.yaml\nSEED: 2\n")
    for name in ("evil.yaml", "child.yaml"):
        message = r"evil.yaml, line 3: is refused: the tag !!python/object/apply:os.system makes an object of Python"
        with pytest.raises(DataError, match=message):
            reader(tmp_path / name)
    assert not (tmp_path / "ran").exists()


def test_a_config_that_does_not_parse_is_named_with_its_line(tmp_path):
    (tmp_path / "broken.yaml").write_text("SEED: 1\nMODEL:\n\tWEIGHTS: x\n")
    with pytest.raises(DataError, match=r"broken.yaml, line 3: is not valid YAML \(found character"):
        read_config(tmp_path / "broken.yaml")


def test_environment_variables_are_replaced_in_paths_of_own_data(tmp_path, monkeypatch):
    monkeypatch.setenv("SIMULATOR", str(tmp_path))
    settings = ["DATASETS.COCO", '[["mine", "$SIMULATOR/boxes.json", "${SIMULATOR}/images"]]']
    entries = read_config(PROJECT / "own_data.yaml", settings).DATASETS.COCO
    assert entries == [["mine", f"{tmp_path}/boxes.json", f"{tmp_path}/images"]]
