"""Metrics of a trained classifier: what it keeps of the pretrained network, and how much style matters."""

from __future__ import annotations

import math
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from mmengine.registry import DATASETS
from mmengine.runner import Runner
from sklearn.metrics import balanced_accuracy_score, confusion_matrix
from torch import Tensor, nn
from torch.utils.data import DataLoader, Dataset

from gcisg_cls.backbones import build_backbone, load_pretrained, plain_of, read_weights
from gcisg_cls.classifier import SynToRealClassifier
from gcisg_cls.datasets import ClassFolderDataset
from gcisg_cls.views import normalize
from gcisg_core.feature_tap import find_stages, make_tap
from gcisg_core.integrations.mmengine import build_runner, load_config, unwrap
from gcisg_core.metrics import match_rate
from gcisg_core.model_metrics import STAGES, UNLABELLED, FeatureMetrics, ModelMetrics, Value
from gcisg_core.run_folder import newest_checkpoint
from gcisg_core.views import restyle
from gcisg_suite.analysis.pretraining import original_accuracy, original_classifier
from gcisg_suite.places import data_root
from gcisg_suite.progress import progress


class _Pairs(Dataset):
    """(image, restyled image, label) of a data set whose pipeline is an :class:`gcisg_cls.views.EvalView`."""

    def __init__(self, images: ClassFolderDataset) -> None:
        self.images = images

    def __len__(self) -> int:
        return len(self.images)

    def __getitem__(self, index: int) -> tuple[Tensor, Tensor, int]:
        sample = self.images[index]
        pixels = sample["inputs"] / 255
        return normalize(pixels), normalize(restyle(pixels, seed=index)), sample["label"]


@torch.no_grad()
def evaluate(
    model: SynToRealClassifier,
    dataset: ClassFolderDataset,
    reference: nn.Module | None = None,
    batch_size: int = 256,
    form: str = "published",
) -> ModelMetrics:
    """Everything but Acc_IN, in one pass over the images.

    Args:
        model: The trained classifier.
        dataset: Real images of the task; its pipeline is an :class:`gcisg_cls.views.EvalView`.
        reference: The pretrained network, see :func:`load_reference`.
        batch_size: Images per forward pass.
        form: Formula of the energy.
    """
    model.eval()
    device = next(model.parameters()).device
    tap = make_tap(model.backbone, [stage for stage in STAGES if stage in find_stages(model.backbone)])
    of_features = FeatureMetrics(form)
    rows: list[Tensor] = []
    for images, restyled, labels in progress(DataLoader(_Pairs(dataset), batch_size), "evaluating", "batch"):
        images = images.to(device)
        with tap.collect(model.backbone) as features:
            probabilities = model.scores(images).softmax(dim=1)
        of_features.update(features, None if reference is None else tap.run(reference, images))
        confidences, predictions = probabilities.max(dim=1)
        changed = model.scores(restyled.to(device)).argmax(dim=1)
        rows.append(torch.stack([labels.double(), *(t.cpu().double() for t in (predictions, changed, confidences))]))
    table = torch.cat(rows, dim=1)
    labels, predictions, changed = table[:3].long()
    kept = {"match": (predictions == changed).double().tolist(), **of_features.found()}
    style = {"match_rate": 100 * match_rate(predictions, changed)}
    if (labels < 0).all():
        values: dict[str, Value] = {"accuracy": UNLABELLED, "overall": UNLABELLED, **style}
        unsure = (1 - table[3]).tolist()
        return ModelMetrics(values, confusion=UNLABELLED, score=[math.nan] * len(labels), failure=unsure, **kept)
    hits, classes = predictions == labels, range(len(dataset.classes))
    confusion = torch.from_numpy(confusion_matrix(labels, predictions, labels=classes))
    return ModelMetrics(
        values={
            "accuracy": 100 * float(balanced_accuracy_score(labels, predictions)),
            "overall": 100 * hits.double().mean().item(),
            **style,
        },
        per_class={
            name: {"images": float(row.sum()), "accuracy": 100 * float(row[label] / row.sum())}
            if row.sum()
            else {"images": 0.0, "accuracy": "no image"}
            for label, (name, row) in enumerate(zip(dataset.classes, confusion, strict=True))
        },
        confusion=confusion,
        axes=dataset.classes,
        score=hits.double().tolist(),
        failure=torch.where(hits, 0, table[3]).tolist(),
        labels=labels.tolist(),
        **kept,
    )


def metric_values(
    model: SynToRealClassifier,
    dataset: ClassFolderDataset,
    pretrained: str | None = None,
    pretraining: ClassFolderDataset | None = None,
    batch_size: int = 256,
) -> dict[str, Value]:
    """The metrics of the paper's Table 2, CKA of each stage, and the energy.

    Args:
        model: The trained classifier.
        dataset: See :func:`evaluate`.
        pretrained: Weights that training started from, see :func:`gcisg_cls.backbones.read_weights`; for CKA.
        pretraining: Validation images of the pretraining (ImageNet), for Acc_IN.
        batch_size: Images per forward pass.

    Returns:
        ``accuracy`` (mean per-class, %), ``overall`` and ``match_rate`` (%), those of
        :data:`gcisg_core.model_metrics.METRICS`, and with ``pretraining`` also ``acc_in`` (%): the original
        classifier's accuracy there on the trained backbone.

    Source: GCISG (ECCV 2022), Section 4, "Evaluation metrics".
    """
    reference = load_reference(model, pretrained) if pretrained else None
    result = evaluate(model, dataset, reference, batch_size).values
    if pretrained and pretraining is not None:
        state = read_weights(model.name, pretrained, model.backbone_options)
        classifier = original_classifier(state, plain_of(model.backbone).classifier)
        result["acc_in"] = original_accuracy(
            lambda images: model.backbone(normalize(images).to(next(model.parameters()).device)),
            classifier,
            pretraining,
            batch_size,
        )
    return result


def load_reference(model: SynToRealClassifier, weights: str) -> nn.Module:
    """The pretrained network of a model, on the model's device, in eval mode."""
    reference, _ = build_backbone(model.name, model.backbone_options)
    load_pretrained(reference, model.name, weights, options=model.backbone_options)
    return reference.eval().to(next(model.parameters()).device)


def explained_stage(backbone: nn.Module) -> int:
    """The deepest stage at which all positions matter: after a transformer's last block only the class token does."""
    *before, deepest = sorted(find_stages(backbone))
    has_class_token = getattr(backbone, "num_prefix_tokens", 0) or hasattr(backbone, "class_token")
    return before[-1] if has_class_token and before else deepest


def build_dataset(config: Any, **changes: Any) -> ClassFolderDataset:
    """A data set of a config, without the wrapper that training puts around it."""
    own = config["dataset"] if config["type"] == "SeededDataset" else config
    dataset: ClassFolderDataset = DATASETS.build({**own, **changes})
    return dataset


def train_config(
    file: Path, work_dir: Path, overrides: Sequence[str] = (), seed: int | None = None, source: Path | None = None
) -> Runner:
    """Train a config, or continue a stopped run.

    Args:
        file: The config. If it has ``start`` (another config's name and overrides), that one is trained first, and
            this run starts from its model.
        work_dir: Where the run is kept.
        overrides: ``key=value`` each.
        seed: The config's by default.
        source: Folder of synthetic images that replaces the config's.
    """
    given, data = [*overrides], "train_dataloader.dataset.dataset"
    start = load_config(str(file), given).get("start")
    if start:
        train_config(file.with_name(f"{start.config}.py"), work_dir / "start", start.overrides, seed, source)
        given.append(f"load_from={newest_checkpoint(work_dir / 'start')}")
        data += ".source"
    if source:
        given.append(f"{data}.root={source}")
    runner = build_runner(file, given, work_dir, seed, resume=True)
    runner.train()
    return runner


def train_and_test(file: Path, work_dir: Path, overrides: Sequence[str], seed: int) -> dict[str, Any]:
    """Train a config and evaluate it on its test set; a stopped run continues.

    Returns:
        What :func:`metric_values` returns, as ``test``, and ``seconds`` of training. Acc_IN is left out if there
        are no images of the pretraining (``$GCISG_DATA/imagenet/val``, with one folder for each class).
    """
    start = time.perf_counter()
    runner = train_config(file, work_dir, overrides, seed)
    seconds = time.perf_counter() - start
    target = runner.cfg.test_dataloader.dataset
    imagenet = data_root() / "imagenet" / "val"
    pretraining = build_dataset(target, root=str(imagenet), classes=None) if imagenet.is_dir() else None
    evaluated = metric_values(unwrap(runner.model), build_dataset(target), runner.cfg.model.weights, pretraining)
    return {"seconds": seconds, "test": evaluated}
