"""mmengine: data that a resumed run reads as the run without a stop would have read them."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import islice
from typing import Any

from mmengine.dataset import InfiniteSampler
from mmengine.registry import DATA_SAMPLERS, DATASETS

from gcisg_core.integrations import reproducible


@DATASETS.register_module()
class SeededDataset(reproducible.SeededDataset):
    """See :class:`gcisg_core.integrations.reproducible.SeededDataset`; takes a data set or its config."""

    def __init__(self, dataset: Any) -> None:
        super().__init__(DATASETS.build(dataset) if isinstance(dataset, dict) else dataset)
        self.metainfo = getattr(self.dataset, "metainfo", {})


@DATA_SAMPLERS.register_module()
class SeededSampler(InfiniteSampler):
    """mmengine's endless sampler, giving each sample the key of its randomness too; for `SeededDataset`."""

    _skipped = 0

    def skip(self, num_samples: int) -> None:
        """Go on behind that many samples of this rank. OneDL's loop asks for it, the official one reads them again."""
        self.indices, self._skipped = islice(self._indices_of_rank(), num_samples, None), num_samples

    def __iter__(self) -> Iterator[Any]:
        return reproducible.seeded_indices(super().__iter__(), self.seed, self.rank, self._skipped)
