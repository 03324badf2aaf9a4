"""An evaluation that a kill cut short is made up by the resumed run; one in a run's folder leaves its config alone."""

import numpy as np
import pytest
from mmengine.runner.loops import ValLoop

from gcisg_suite.cli import main
from gcisg_suite.report.runs import read_run
from tests.test_own_data import MAKE
from tests.test_worker_errors import TASKS

STEPS = ["train_cfg.max_iters=3", "train_cfg.val_interval=2", "default_hooks.checkpoint.interval=2"]


def test_an_evaluation_is_made_up_once(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for seed, name in enumerate(("synthetic", "real")):
        MAKE["classification"](tmp_path / "my" / name, np.random.default_rng(seed))
    (tmp_path / "mine.py").write_text(TASKS["classification"][1])
    train = ["train", "--config", "mine.py", "--output", "run", "--seed", "3"]

    def killed(*_):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(ValLoop, "run_iter", killed)
        with pytest.raises((KeyboardInterrupt, SystemExit)):
            main([*train, *STEPS])
    assert read_run(tmp_path / "run").metrics == []
    main([*train, "--resume", *STEPS])
    assert [entry["step"] for entry in read_run(tmp_path / "run").metrics] == [2, 3]

    config = (tmp_path / "run/mine.py").read_bytes()
    checkpoint = ["--checkpoint", "run/iter_2.pth"]
    main(["eval", "--config", "mine.py", "--output", "run", *checkpoint, "test_dataloader.batch_size=1"])
    assert (tmp_path / "run/mine.py").read_bytes() == config

    (tmp_path / "run/iter_3.pth").unlink()
    (tmp_path / "run/last_checkpoint").write_text("run/iter_2.pth")
    ran = []
    monkeypatch.setattr(ValLoop, "run", lambda loop: ran.append(loop.runner.iter))
    main([*train, "--resume", *STEPS])
    assert ran == [3]
