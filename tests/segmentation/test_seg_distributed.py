"""Two processes against one with the doubled batch."""

from __future__ import annotations

import pytest
import torch

from tests.processes import on_two_ranks
from tests.segmentation import ranks


@pytest.fixture(scope="module")
def results(tmp_path_factory):
    """What rank 0 and rank 1 of two had in the end, and a single process with all images."""
    folder = tmp_path_factory.mktemp("ranks")
    on_two_ranks(ranks.run, 2, str(folder))
    return [torch.load(folder / f"{rank}.pth") for rank in (0, 1)], ranks.train(0, 1)


def test_both_ranks_hold_the_same_weights_target_and_queue(results):
    (first, second), _ = results
    for name, value in first["state"].items():
        assert torch.equal(value, second["state"][name]), name


def test_losses_equal_those_of_one_process_with_the_doubled_batch(results):
    (first, second), alone = results
    names = [name for name in alone["logs"][0] if "loss" in name]
    assert "loss_ci_stage3" in names
    for one, two, single in zip(first["logs"], second["logs"], alone["logs"], strict=True):
        for name in names:
            torch.testing.assert_close((one[name] + two[name]) / 2, single[name], rtol=1e-4, atol=1e-5)


def test_queue_holds_the_same_rows_as_that_of_one_process(results):
    (first, _), alone = results
    for stage in (3, 4):
        name = f"regularizer.queues.stage{stage}"
        ours, theirs = first["state"], alone["state"]
        assert ours[f"{name}.pointer"] == theirs[f"{name}.pointer"]
        # The ranks' rows are joined rank by rank, one process joins them view by view: the same set.
        distance = torch.cdist(ours[f"{name}.features"], theirs[f"{name}.features"])
        assert distance.min(dim=1).values.max() < 1e-3
        assert distance.argmin(dim=1).unique().numel() == 64
