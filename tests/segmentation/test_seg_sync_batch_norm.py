"""mmseg's default normalisation, SyncBN, on one device and on two processes: mmengine converts it after the build."""

from __future__ import annotations

import pytest
import torch
from mmengine.registry import MODELS

from gcisg_core.encoders import fold_batch_norm
from gcisg_core.integrations.mmengine import build_runner
from gcisg_core.safe_load import read_checkpoint
from tests.processes import command_on_two_ranks
from tests.segmentation.test_seg_resume import config  # noqa: F401 - a fixture

OVERRIDES = [
    "model.backbone.type=ResNetV1c",
    *(f"model.{part}.norm_cfg.type=SyncBN" for part in ("backbone", "decode_head", "auxiliary_head")),
    # The student stays as it was when the copies were made.
    "model.backbone.norm_eval=True",
    "optim_wrapper.optimizer.lr=0.0",
    "train_cfg.max_iters=2",
]


@pytest.mark.parametrize("processes", [1, 2])
def test_copies_are_those_of_the_student(config, tmp_path, processes):  # noqa: F811 - the fixture
    runner = build_runner(config, OVERRIDES, tmp_path / "run", seed=3, training=processes == 1)
    if processes == 1:
        runner.train()
    else:
        command_on_two_ranks("train", "--config", config, "--work-dir", tmp_path / "run", *OVERRIDES)
    state = read_checkpoint(tmp_path / "run/iter_2.pth")["state_dict"]
    assert int(state["regularizer.queues.stage4.pointer"]) == 2 * processes * 2 * 2 * 4 % 100

    def part(prefix):
        return {name.removeprefix(prefix): value for name, value in state.items() if name.startswith(prefix)}

    backbone = MODELS.build({**runner.cfg.model.backbone, "_scope_": "mmseg"})
    backbone.load_state_dict(part("backbone."))
    backbone.eval()
    expected = fold_batch_norm(backbone).state_dict()
    reference = part("regularizer.reference.encoder.")
    assert "stem.0.bias" in reference  # folded
    assert reference.keys() == expected.keys()
    assert all(torch.equal(reference[name], value) for name, value in expected.items())
    target = part("regularizer.momentum_encoder.average.module.")
    for name, value in part("backbone.").items():
        torch.testing.assert_close(target[name], value, msg=name)
