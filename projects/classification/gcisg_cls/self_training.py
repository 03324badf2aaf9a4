"""Class-balanced self-training (CBST) on mmengine, from any trained checkpoint."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import torch
from mmengine.dataset import DefaultSampler
from mmengine.dist import all_gather_object, get_dist_info
from mmengine.hooks import Hook
from mmengine.registry import DATA_SAMPLERS, DATASETS, HOOKS
from mmengine.runner import Runner
from tabulate import tabulate
from torch import Tensor
from torch.utils.data import DataLoader, Dataset, Subset

from gcisg_cls.classifier import SynToRealClassifier
from gcisg_core.config import require
from gcisg_core.export import METHOD_PREFIX
from gcisg_core.integrations.mmengine import check_state, unwrap
from gcisg_core.self_training import UNLABELLED, class_thresholds, portion_at, pseudo_labels


@DATASETS.register_module()
class SelfTrainingDataset(Dataset):
    """The target's images that have a pseudo-label, and as many source images, drawn again each epoch.

    Args:
        target: Config of the unlabelled images, as they are predicted. Their labels, if any, are not looked at.
        source: Config of the labelled source images.
        pipeline: Config of the transform of a target image in training.
        mix_source: False: no source images.

    Raises:
        ValueError: source and target have other classes, or an item is asked for before there are pseudo-labels.
    """

    def __init__(
        self, target: dict[str, Any], source: dict[str, Any], pipeline: dict[str, Any], mix_source: bool = True
    ) -> None:
        self.unlabelled = DATASETS.build(target)
        self.target = DATASETS.build({**target, "pipeline": pipeline})
        self.source = DATASETS.build(source) if mix_source else None
        self.metainfo = self.target.metainfo
        if self.source is not None:
            classes = self.source.metainfo["classes"]
            require(classes == self.metainfo["classes"], "classes of the source", classes, "those of the target")
        self.kept = torch.arange(len(self.target))
        self.labels = torch.full_like(self.kept, UNLABELLED)
        self.drawn = torch.arange(0)

    def renew(self, labels: Tensor, seed: int) -> None:
        """Take pseudo-labels (N,), ``UNLABELLED`` where there is none; ``seed`` draws the source images.

        Raises:
            ValueError: no image has one.
        """
        self.kept = (labels != UNLABELLED).nonzero().flatten()
        self.labels = labels[self.kept]
        if not len(self.kept):
            raise ValueError("no image gets a pseudo-label: each class has fewer predictions than 1 / share")
        if self.source is not None:
            order = torch.randperm(len(self.source), generator=torch.Generator().manual_seed(seed))
            self.drawn = order[: len(self.kept)]

    def __len__(self) -> int:
        return len(self.kept) + len(self.drawn)

    def __getitem__(self, index: int) -> dict[str, Any]:
        if index >= len(self.kept):
            assert self.source is not None
            item: dict[str, Any] = self.source[int(self.drawn[index - len(self.kept)])]
            return item
        label = int(self.labels[index])
        require(label != UNLABELLED, "label", label, "a pseudo-label; add SelfTrainingHook to the config")
        return {**self.target[int(self.kept[index])], "label": label}


@DATA_SAMPLERS.register_module()
class SeededEpochSampler(DefaultSampler):
    """mmengine's sampler over a data set whose length changes between epochs, with keys for `SeededDataset`."""

    def set_epoch(self, epoch: int) -> None:
        super().__init__(self.dataset, self.shuffle, self.seed, self.round_up)
        super().set_epoch(epoch)

    def __iter__(self) -> Iterator[Any]:
        for position, index in enumerate(super().__iter__()):
            yield (self.seed, self.rank, self.epoch, position), index


@HOOKS.register_module()
class SelfTrainingHook(Hook):
    """Labels the target again before each epoch, with the model as it is then; for `SelfTrainingDataset`.

    They follow from the weights and the epoch alone, so a resumed run finds the same ones.

    Args:
        start, step, end: Share of each class that is kept, see :func:`gcisg_core.self_training.portion_at`.
    """

    priority = "VERY_HIGH"  # before the sampler asks for the length

    def __init__(self, start: float = 0.2, step: float = 0.05, end: float = 0.5) -> None:
        require(0 < start <= end <= 1, "start, end", (start, end), "0 < start <= end <= 1")
        self.schedule = (start, step, end)

    def before_run(self, runner: Runner) -> None:
        require(
            runner._load_from is not None,
            "load_from",
            runner._load_from,
            "the checkpoint of a trained model, from which self-training starts",
        )

    def after_load_checkpoint(self, runner: Runner, checkpoint: dict[str, Any]) -> None:
        if not runner._resume:
            # mmengine would load another model's in part, without a word.
            state = {k: v for k, v in checkpoint["state_dict"].items() if not k.startswith(METHOD_PREFIX)}
            check_state(unwrap(runner.model), state, f"load_from {runner._load_from}", ignore=(METHOD_PREFIX,))
            checkpoint["state_dict"] = state

    def before_train(self, runner: Runner) -> None:
        persistent = runner.train_dataloader.persistent_workers
        require(not persistent, "train_dataloader.persistent_workers", persistent, "False: they keep old labels")

    def before_train_epoch(self, runner: Runner) -> None:
        loader, model = runner.train_dataloader, unwrap(runner.model)
        dataset = loader.dataset.dataset
        probabilities = predict(model, dataset.unlabelled, loader.batch_size, loader.num_workers)
        portion = portion_at(runner.epoch, *self.schedule)
        thresholds = class_thresholds(probabilities, portion)
        labels = pseudo_labels(probabilities, thresholds)
        dataset.renew(labels, seed=runner.seed + runner.epoch)
        predicted = probabilities.argmax(dim=1).bincount(minlength=len(thresholds)).tolist()
        kept = dataset.labels.bincount(minlength=len(thresholds)).tolist()
        names = dataset.metainfo["classes"]
        rows = zip(names, predicted, kept, thresholds.tolist(), strict=True)
        heads = ("class", "predicted", "pseudo-labels", "threshold")
        runner.logger.info(f"pseudo-labels, share {portion:.2f}\n{tabulate(rows, heads, floatfmt='.4f')}")


@torch.no_grad()
def predict(model: SynToRealClassifier, images: Dataset, batch_size: int, workers: int) -> Tensor:
    """Probabilities (N, C) of a data set's images by the model in evaluation mode, shared out over the ranks."""
    rank, ranks = get_dist_info()
    count = len(images)  # type: ignore[arg-type]
    model.eval()
    rows = []
    for batch in DataLoader(Subset(images, range(rank, count, ranks)), batch_size, num_workers=workers):
        scores = model.scores(model.data_preprocessor({"inputs": batch["inputs"]})["inputs"])
        rows.append(scores.float().softmax(dim=1).cpu())
    parts = all_gather_object(torch.cat(rows))
    result = parts[0].new_empty(count, parts[0].shape[1])
    for first, part in enumerate(parts):
        result[first::ranks] = part
    return result
