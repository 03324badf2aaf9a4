"""The reference network: shipped whole, trained the same way on any number of threads, one for all tasks."""

from __future__ import annotations

import hashlib
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from gcisg_core.safe_load import read_state_dict
from gcisg_suite.miniature import reference
from gcisg_suite.miniature.network import MiniResNet


def test_the_shipped_file_is_the_one_that_was_trained() -> None:
    assert hashlib.sha256(reference.FILE.read_bytes()).hexdigest() == reference.SHA256
    assert reference.FILE.stat().st_size < 5e6


def test_it_is_put_beside_the_data_once(tmp_path: Path) -> None:
    file = reference.shipped_reference(tmp_path)
    network = MiniResNet(81, seed=1)
    network.load_state_dict(read_state_dict(file))
    file.write_bytes(b"mine")
    assert reference.shipped_reference(tmp_path).read_bytes() == b"mine"


def test_it_knows_the_glyphs_and_no_untrained_network_does() -> None:
    pixels, labels = reference.glyphs("val", 0, 1)
    scores = []
    for state in (load_file(reference.FILE), MiniResNet(81, seed=1).state_dict()):
        network = MiniResNet(81)
        network.load_state_dict(state)
        with torch.no_grad():
            guess = network.eval()(reference.normalise(pixels)).argmax(1)
        scores.append((guess == labels).float().mean().item())
    assert scores[0] > 0.85
    assert scores[1] < 0.1


def test_scene_labels_are_at_the_glyphs() -> None:
    picture, labels = reference.reference_scene(0, 0)
    assert (picture.shape, picture.dtype) == ((96, 128, 3), np.uint8)
    assert labels.shape == (24, 32)
    assert 0 < (labels > 0).mean() < 0.5
    assert labels.max() <= 81


@pytest.mark.parametrize("suffix", ["safetensors", "pth"])
def test_training_writes_the_same_network_on_any_number_of_threads(suffix: str, tmp_path: Path) -> None:
    before, networks = torch.get_num_threads(), []
    try:
        for threads in (1, 2):
            torch.set_num_threads(threads)
            goal = tmp_path / f"of_{threads}.{suffix}"
            reference.pretrain(goal, 0, scenes_count=4, per_class=1, iterations=2, every=2, held_out=2)
            networks.append(load_file(goal) if suffix == "safetensors" else torch.load(goal, weights_only=True))
            assert torch.get_num_threads() == threads
    finally:
        torch.set_num_threads(before)
    assert all(torch.equal(value, networks[1][name]) for name, value in networks[0].items())
