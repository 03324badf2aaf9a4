"""mmengine: data of a resumed run, read exactly as the uninterrupted run would have read them."""

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
    """See :class:`gcisg_core.integrations.reproducible.SeededDataset`; accepts a data set or its config."""

    def __init__(self, dataset: Any) -> None:
        super().__init__(DATASETS.build(dataset) if isinstance(dataset, dict) else dataset)
        self.metainfo = getattr(self.dataset, "metainfo", {})


@DATA_SAMPLERS.register_module()
class SeededSampler(InfiniteSampler):
    """mmengine's infinite sampler, which also gives each sample the key of its randomness; for `SeededDataset`."""

    _skipped = 0

    def skip(self, num_samples: int) -> None:
        """Skip the first samples of this rank."""
        self.indices, self._skipped = islice(self._indices_of_rank(), num_samples, None), num_samples

    def __iter__(self) -> Iterator[Any]:
        return reproducible.seeded_indices(super().__iter__(), self.seed, self.rank, self._skipped)


def skip_what_was_read(loop: Any) -> None:
    """Keep a resumed loop of the official mmengine from reading samples again; OneDL's loop needs no change.

    A warning names the data whose random changes differ after a resume.
    """
    loader, done = loop.dataloader, loop.iter
    if done and not (isinstance(loader.sampler, SeededSampler) and isinstance(loader.dataset, SeededDataset)):
        wrapped = 'sampler=dict(type="SeededSampler"), dataset=dict(type="SeededDataset", dataset=dict(...))'
        known = f"Use train_dataloader=dict({wrapped}) for an exact resume"
        print_log(
            f"The resumed run draws different random changes than an uninterrupted run. {known}", "current", WARNING
        )
    if done and isinstance(loader.sampler, SeededSampler) and not hasattr(loop.dataloader_iterator, "skip_iter"):
        loader.sampler.skip(done * loader.batch_size)
        loop.dataloader_iterator = chain(repeat(None, done), iter(loader))  # the loop drops these


def was_evaluated(folder: Path, step: int) -> bool:
    """Whether a run's logs have the evaluation of a step, whose checkpoint is written before the evaluation."""
    logs = (path.read_text(encoding="utf-8", errors="replace") for path in folder.glob("*/vis_data/scalars.json"))
    end = f'"step": {step}}}'
    return any(line.endswith(end) and '"loss"' not in line for log in logs for line in log.splitlines())
