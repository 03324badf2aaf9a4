"""Randomness that depends only on the seed and the position in training.

A run that is killed and resumed therefore continues as if uninterrupted, and the number of data workers does not
matter: sample n and step i of a run always draw the same random numbers.
"""

from __future__ import annotations

import random
from collections.abc import Iterable, Iterator
from itertools import count
from typing import Any

import numpy as np
import torch
from torch.utils.data import Dataset


def seed_everything(*keys: int) -> None:
    """Seed Python, numpy and torch from non-negative numbers, well mixed; use one key for each thing to tell apart."""
    python, legacy, state = np.random.SeedSequence(keys).generate_state(3).tolist()
    random.seed(python)
    np.random.seed(legacy)
    # `torch.manual_seed` is ten times slower, too much for each sample; it also seeds what is seeded here.
    torch.default_generator.manual_seed(state)
    if torch.cuda.is_initialized():
        torch.cuda.manual_seed_all(state)


def random_state() -> dict[str, Any]:
    """The state of the generators of Python, numpy, torch and the current GPU."""
    cuda = torch.cuda.get_rng_state() if torch.cuda.is_initialized() else None
    return {"python": random.getstate(), "numpy": np.random.get_state(), "torch": torch.get_rng_state(), "cuda": cuda}


def set_random_state(state: dict[str, Any]) -> None:
    """Restore what :func:`random_state` returned; a GPU's state is ignored without a GPU."""
    random.setstate(state["python"])
    np.random.set_state(state["numpy"])
    torch.set_rng_state(state["torch"])
    if state["cuda"] is not None and torch.cuda.is_available():
        torch.cuda.set_rng_state(state["cuda"])


def seeded_indices(indices: Iterable[int], seed: int, rank: int = 0, start: int = 0) -> Iterator[tuple[tuple, int]]:
    """Pairs (key of the sample's randomness, index) for :class:`SeededDataset`; ``start`` samples have been read."""
    for position, index in zip(count(start), indices):
        yield (seed, rank, position), index


class SeededDataset(Dataset):
    """Seeds all random generators before each sample is read.

    Args:
        dataset: Any map-style data set.

    Items are indexed by the pairs of :func:`seeded_indices`; a plain index reads without seeding.
    """

    def __init__(self, dataset: Any) -> None:
        self.dataset = dataset

    def __len__(self) -> int:
        return len(self.dataset)

    def __getitem__(self, item: int | tuple[tuple[int, ...], int]) -> Any:
        if isinstance(item, tuple):
            key, item = item
            # 1 separates these numbers from those of the steps.
            seed_everything(1, *key)
        return self.dataset[item]
