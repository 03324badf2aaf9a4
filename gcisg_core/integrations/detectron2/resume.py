"""Exact resume: a training loader whose samples depend only on (seed, position), and a hook for the steps.

Position p is the p-th sample of the infinite stream that the framework's sampler defines, over all ranks. Batches and
augmentation therefore do not depend on the number of workers, and a run that resumes at iteration i reads what the
uninterrupted run would have read. Aspect-ratio grouping is kept: the framework's grouping runs on the indices of the
stream from position 0, so that a resumed run restores its buckets (integers only, 1 s per million).
"""

from __future__ import annotations

import contextlib
import itertools
import logging
import random
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch
from detectron2.config import CfgNode
from detectron2.data.build import _train_loader_from_config, trivial_batch_collator
from detectron2.data.common import AspectRatioGroupedDataset, DatasetFromList
from detectron2.engine import HookBase
from detectron2.engine.hooks import EvalHook, PeriodicWriter
from detectron2.utils import comm
from detectron2.utils.events import CommonMetricPrinter
from torch.utils.data import DataLoader, Dataset, Sampler

from gcisg_core.files import write_text
from gcisg_core.integrations.detectron2.trackers import WINDOW
from gcisg_core.integrations.reproducible import seed_everything
from gcisg_core.run_folder import on_first_rank

logger = logging.getLogger(f"detectron2.{__name__}")  # a child of the framework's logger


@contextlib.contextmanager
def seeded(*key: int) -> Iterator[None]:
    """Seed Python, numpy and torch (CPU) from `key` in the block; their states are restored afterwards."""
    states = random.getstate(), np.random.get_state(), torch.get_rng_state()
    seed_everything(*key)
    try:
        yield
    finally:
        random.setstate(states[0])
        np.random.set_state(states[1])
        torch.set_rng_state(states[2])


Mapper = Callable[[dict], dict | None]  # None: the sample cannot be used
MOST_SKIPPED = 1000


class PositionedSamples(Dataset):
    """Maps (position, index) to the sample `index`, with random augmentation determined by `position`.

    If the mapper returns None, another sample is drawn, also determined by `position`.

    Raises:
        ValueError: the mapper returned None many times in a row.
    """

    def __init__(self, records: Any, mapper: Mapper, seed: int) -> None:
        self.records, self.mapper, self.seed = records, mapper, seed

    def __getitem__(self, key: tuple[int, int]) -> dict:
        position, index = key
        with seeded(1, self.seed, position):  # 1 separates these numbers from those of the steps
            for _ in range(MOST_SKIPPED):
                if (sample := self.mapper(self.records[index])) is not None:
                    return sample
                index = random.randrange(len(self.records))
        raise ValueError(f"{MOST_SKIPPED} images in a row cannot be used; the log names them")


class ResumableLoader:
    """Batches for this rank, from iteration `start` on.

    `seed` and `start` may be set until the first batch is requested: both versions of Detectron2 build the loader
    before they read the checkpoint; 0.5 also builds its iterator.

    Args:
        records: Data set dictionaries.
        mapper: Maps a record to a sample; None: the loader draws another sample.
        sampler: A training sampler of the framework; its seed is replaced by `seed`.
        batch_size: Images on this rank and step.
        grouping: Whether a batch holds only landscape or only portrait images.
        num_workers: Worker processes.
        **options: Options of torch's loader, such as ``pin_memory``.
    """

    def __init__(
        self,
        records: list[dict],
        mapper: Mapper,
        sampler: Sampler,
        *,
        batch_size: int,
        grouping: bool,
        num_workers: int,
        **options: Any,
    ) -> None:
        self.records = DatasetFromList(records, copy=False)
        self.sizes = [(record["width"], record["height"]) for record in records] if grouping else []
        self.mapper, self.sampler = mapper, sampler
        self.batch_size, self.num_workers = batch_size, num_workers
        self.options = {"collate_fn": trivial_batch_collator, **options}
        self.seed, self.start = 0, 0

    def _batches(self) -> Iterator[list[tuple[int, int]]]:
        # The same attribute in every sampler of both versions of the framework.
        self.sampler._seed = self.seed  # type: ignore[attr-defined]
        positions = itertools.count(comm.get_rank(), comm.get_world_size())
        stream = zip(positions, self.sampler, strict=False)
        batches: Iterator[list[tuple[int, int]]]
        if self.sizes:
            items = ({"key": key, "width": self.sizes[key[1]][0], "height": self.sizes[key[1]][1]} for key in stream)
            grouped = AspectRatioGroupedDataset(items, self.batch_size)
            batches = ([item["key"] for item in batch] for batch in grouped)
        else:
            batches = iter(lambda: list(itertools.islice(stream, self.batch_size)), [])
        yield from itertools.islice(batches, self.start, None)

    def __iter__(self) -> Iterator[list[dict]]:
        # A generator: nothing below runs before the first batch is requested.
        yield from DataLoader(
            PositionedSamples(self.records, self.mapper, self.seed),
            batch_sampler=self._batches(),
            num_workers=self.num_workers,
            generator=torch.Generator(),  # otherwise the loader would draw from the generator of the training step
            **self.options,
        )


def build_train_loader(cfg: CfgNode, mapper: Mapper) -> ResumableLoader:
    """The resumable loader of a config; data sets and samplers are chosen by the framework.

    Raises:
        ValueError: The batch size is not a positive multiple of the number of ranks.
    """
    # The first half of the framework's `build_detection_train_loader`, in both versions; 0.5 has no public name for it.
    parts = _train_loader_from_config(cfg, mapper)
    total, ranks = parts["total_batch_size"], comm.get_world_size()
    if total < 1 or total % ranks:
        raise ValueError(f"SOLVER.IMS_PER_BATCH is {total}, expected a positive multiple of the {ranks} processes")
    return ResumableLoader(
        parts["dataset"],
        mapper,
        parts["sampler"],
        batch_size=total // ranks,
        grouping=parts["aspect_ratio_grouping"],
        num_workers=parts["num_workers"],
    )


class WholeLog(HookBase):
    """Keeps the log of a killed run complete. It must be the last hook.

    Metrics of an evaluation are written immediately: the framework buffers them for some steps, so a kill would lose
    them. A step's checkpoint is written before its evaluation and its log line; a run that was killed in between adds
    both when it resumes.

    Args:
        period: Steps between evaluations; 0: only one, at the end.
        folder: The run's folder; its file `last_evaluation` has the step that was evaluated last.
    """

    def __init__(self, period: int, folder: str) -> None:
        self.period = period
        self.marker, self.log = Path(folder) / "last_evaluation", Path(folder) / "metrics.json"

    def _is_due(self, steps: int) -> bool:
        return self.period > 0 and steps % self.period == 0

    def _logs(self) -> list[PeriodicWriter]:
        return [hook for hook in self.trainer._hooks if isinstance(hook, PeriodicWriter)]

    def _write(self) -> None:
        """Let each writer write what it has not written yet."""
        for writer in (writer for hook in self._logs() for writer in hook._writers):
            if not isinstance(writer, CommonMetricPrinter):  # it divides by the steps since its last output
                writer.write()

    def _write_evaluation(self, steps: int) -> None:
        self._write()
        if comm.is_main_process():
            write_text(self.marker, str(steps))

    def _was_evaluated(self, steps: int) -> bool:
        return self.marker.is_file() and self.marker.read_text().strip() == str(steps)

    def _was_logged(self, steps: int) -> bool:
        lines = self.log.read_text(encoding="utf-8", errors="replace").splitlines() if self.log.is_file() else []
        return any(f'"iteration": {steps - 1},' in line and '"total_loss"' in line for line in lines)

    def before_train(self) -> None:
        """Evaluate and log the step from which the run resumes, if that was due and not done."""
        steps, last, storage = self.trainer.start_iter, self.trainer.max_iter, self.trainer.storage
        if not steps:
            return
        storage.iter = steps - 1
        evaluate = steps < last and self._is_due(steps)
        if evaluate and not on_first_rank(lambda: self._was_evaluated(steps)):
            for hook in self.trainer._hooks:
                if isinstance(hook, EvalHook):
                    hook._do_eval()
            self._write_evaluation(steps)
        elif any(steps % hook._period == 0 or steps == last for hook in self._logs()) and not self._was_logged(steps):
            self._write()
        storage.iter = steps

    def after_step(self) -> None:
        """Write, if this step was evaluated."""
        if self._is_due(self.trainer.iter + 1):
            self._write_evaluation(self.trainer.iter + 1)


OF_THE_CLOCK = {"time", "data_time", "rank_data_time", "eta_seconds"}


class ExactResume(HookBase):
    """Makes the random numbers of a step depend on (seed, iteration, rank), and starts the data at the iteration.

    Its state in the checkpoint: the seed; the running loss normalizer, which the framework's dense detectors keep in a
    plain attribute and so lose on resume (rank 0's is used on all ranks); and the values whose median is logged.

    Args:
        seed: The config's `SEED`; if negative, one is drawn, which a resumed run takes from the checkpoint.
    """

    def __init__(self, seed: int) -> None:
        self.seed = seed if seed >= 0 else comm.shared_random_seed()
        self.scalars: dict[str, Any] = {}

    def before_train(self) -> None:
        """Set the loader to the first iteration; a loader of another kind starts from the beginning, with a warning."""
        loader, storage = self.trainer.data_loader, self.trainer.storage
        if isinstance(loader, ResumableLoader):
            loader.seed, loader.start = self.seed, self.trainer.start_iter
        elif self.trainer.start_iter:
            known = f"Use {__name__}.build_train_loader(cfg, mapper) for an exact resume"
            logger.warning(
                "The training loader cannot resume exactly: it draws different images than before. %s.", known
            )
        for name, (smooth, values) in self.scalars.items():
            for value, step in values:
                storage.iter = step
                storage.put_scalar(name, value, smoothing_hint=smooth)
        storage.iter = self.trainer.start_iter

    def before_step(self) -> None:
        """Seed the step."""
        seed_everything(0, self.seed, self.trainer.iter, comm.get_rank())

    def after_train(self) -> None:
        """Correct the step of the last evaluation: in a run with only the evaluation left, it is one too high."""
        self.trainer.storage.iter = min(self.trainer.iter, self.trainer.max_iter)

    def _model(self) -> Any:
        return getattr(self.trainer.model, "module", self.trainer.model)

    def _recent_scalars(self) -> dict[str, Any]:
        """Name -> whether the log smooths it, and its last values with their steps, for scalars logged in this step."""
        storage = getattr(self.trainer, "storage", None)
        if storage is None:  # saved before training
            return self.scalars
        hints, histories = storage.smoothing_hints(), storage.histories()
        names = [name for name, (_, step) in storage.latest().items() if step == storage.iter]
        return {name: (hints[name], histories[name].values()[-WINDOW:]) for name in names if name not in OF_THE_CLOCK}

    def state_dict(self) -> dict[str, Any]:
        """The seed, the scalars and, where the model has one, the normalizer."""
        state = {"seed": self.seed, "scalars": self._recent_scalars()}
        normalizer = getattr(self._model(), "loss_normalizer", None)
        return state if normalizer is None else {**state, "loss_normalizer": normalizer}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Restore the state of the resumed run."""
        self.seed, self.scalars = int(state["seed"]), state.get("scalars", {})
        if "loss_normalizer" in state:
            self._model().loss_normalizer = state["loss_normalizer"]
