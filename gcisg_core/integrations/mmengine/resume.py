"""mmengine: data that a resumed run reads as the run without a stop would have read them."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import chain, islice, repeat
from logging import WARNING
from pathlib import Path
from typing import Any

from mmengine.dataset import InfiniteSampler
from mmengine.logging import print_log
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
        """Go on behind that many samples of this rank."""
        self.indices, self._skipped = islice(self._indices_of_rank(), num_samples, None), num_samples

    def __iter__(self) -> Iterator[Any]:
        return reproducible.seeded_indices(super().__iter__(), self.seed, self.rank, self._skipped)


def skip_what_was_read(loop: Any) -> None:
    """Let a resumed loop of the official mmengine not read again what was read before the stop; OneDL's does not.

    Data that are drawn anew are named in a warning.
    """
    loader, done = loop.dataloader, loop.iter
    if done and not (isinstance(loader.sampler, SeededSampler) and isinstance(loader.dataset, SeededDataset)):
        wrapped = 'sampler=dict(type="SeededSampler"), dataset=dict(type="SeededDataset", dataset=dict(...))'
        known = f"train_dataloader=dict({wrapped}) goes on exactly"
        print_log(f"The resumed run sees other random changes than without the stop: {known}", "current", WARNING)
    if done and isinstance(loader.sampler, SeededSampler) and not hasattr(loop.dataloader_iterator, "skip_iter"):
        loader.sampler.skip(done * loader.batch_size)
        loop.dataloader_iterator = chain(repeat(None, done), iter(loader))  # the loop drops so many


def was_evaluated(folder: Path, step: int) -> bool:
    """Whether the logs of a run have an evaluation of a step; its checkpoint is written before it is evaluated."""
    logs = (path.read_text(encoding="utf-8", errors="replace") for path in folder.glob("*/vis_data/scalars.json"))
    end = f'"step": {step}}}'
    return any(line.endswith(end) and '"loss"' not in line for log in logs for line in log.splitlines())
