"""The file of a recorded step."""

import math
import random
from functools import partial

import numpy as np
import pytest
import torch

from gcisg_core.integrations.reproducible import random_state, set_random_state
from gcisg_core.nan.record import load, plain, restore, save, statistics
from gcisg_core.nan.recorder import VERSION
from gcisg_core.problems import DataError


def test_records_come_back_as_they_were(tmp_path):
    value = {"a": [1, 2.5, None, True, (torch.ones(2), "x")], "b": {3: np.float64(2), "c": np.arange(3)}, "o": {1, 2}}
    packed = plain(value, repr)
    assert packed["b"] == {3: 2.0, "c": [0, 1, 2]}
    assert packed["o"] == "{1, 2}"
    save({"version": VERSION, "value": packed}, tmp_path / "record.pth")
    again = restore(load(tmp_path / "record.pth", VERSION)["value"], dict)
    assert again["a"][:4] == [1, 2.5, None, True]
    assert torch.equal(again["a"][4][0], torch.ones(2))


def test_a_wrong_file_is_named(tmp_path):
    (tmp_path / "text.pth").write_text("no record")
    with pytest.raises(DataError, match=r"text.pth: cannot be read as a record of a step"):
        load(tmp_path / "text.pth", VERSION)
    torch.save({"state_dict": {}}, tmp_path / "other.pth")
    with pytest.raises(DataError, match=r"other.pth: version None, expected a record of version 1"):
        load(tmp_path / "other.pth", VERSION)


def test_statistics_are_those_of_the_finite_values():
    found = statistics(torch.tensor([[1.0, 3.0], [math.inf, math.nan]]))
    assert found == {"shape": [2, 2], "nonfinite": 2, "min": 1.0, "mean": 2.0, "max": 3.0, "std": 1.0}
    assert statistics(torch.tensor([math.nan])) == {"shape": [1], "nonfinite": 1}


def test_the_generators_states_come_back():
    state = random_state()
    draw = partial(lambda: (random.random(), np.random.rand(), torch.rand(()).item()))
    first = draw()
    set_random_state(plain(state, repr))
    assert draw() == first
