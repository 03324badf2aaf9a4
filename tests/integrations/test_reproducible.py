import random
from itertools import islice

import numpy as np
import torch
from torch.utils.data import DataLoader

from gcisg_core.integrations.reproducible import SeededDataset, seed_everything, seeded_indices


class Draws:
    """Items are random numbers of all three generators."""

    def __len__(self):
        return 4

    def __getitem__(self, index):
        return index, random.random(), np.random.rand(), torch.rand(1).item()


def read(start, count, workers=0, seed=5, rank=0):
    indices = islice(seeded_indices([0, 1, 2, 3] * 3, seed, rank), start, start + count)
    loader = DataLoader(SeededDataset(Draws()), batch_size=None, sampler=list(indices), num_workers=workers)
    return [tuple(map(float, item)) for item in loader]


def test_a_sample_depends_on_seed_and_position_only():
    whole = read(0, 9)
    assert read(6, 3) == whole[6:]
    assert read(0, 9, workers=2) == whole
    assert len(set(whole)) == 9  # the same image differs from one epoch to the next
    assert not set(whole) & set(read(0, 9, seed=6))
    assert not set(whole) & set(read(0, 9, rank=1))


def test_a_start_shifts_the_positions():
    assert list(seeded_indices([7, 8], seed=1, rank=2, start=10)) == [((1, 2, 10), 7), ((1, 2, 11), 8)]


def test_a_plain_index_reads_without_seeding():
    dataset = SeededDataset(Draws())
    assert len(dataset) == 4
    assert dataset[2] != dataset[2]


def test_keys_are_well_mixed():
    drawn = set()
    for key in [(0, 1), (1, 0), (0, 0), (1, 1), (2**40, 1)]:
        seed_everything(*key)
        drawn.add((random.random(), np.random.rand(), torch.rand(1).item()))
    assert len({values[0] for values in drawn}) == len({values[1] for values in drawn}) == 5
