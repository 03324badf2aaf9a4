"""Metrics of detectors: similarity to the pretrained network, sensitivity to style, and AP."""

from __future__ import annotations

import math
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from typing import Any, NamedTuple

import torch
from detectron2.data import DatasetCatalog, MetadataCatalog
from detectron2.structures import BoxMode
from scipy.optimize import linear_sum_assignment
from torch import Tensor, nn
from torchvision.ops import box_iou

from gcisg_core.channels import in_rgb
from gcisg_core.feature_tap import find_stages, make_tap
from gcisg_core.model_metrics import STAGES, FeatureMetrics, ModelMetrics, Value
from gcisg_core.stages import below_pyramid
from gcisg_core.views import restyle
from gcisg_suite.progress import progress

from .coco_evaluator import HEADLINE, BoxEvaluator
from .setups import DetectorSetup

IOU = 0.5  # lowest IoU of two boxes that match
SCORE = 0.5  # lowest score of a detection that counts, for the match rate, the confusion matrix and the pictures
BACKGROUND = "background"


class Boxes(NamedTuple):
    """Boxes (N, 4) as x1, y1, x2, y2 in pixels of the image file, and their classes (N,)."""

    boxes: Tensor
    classes: Tensor


def match(first: Boxes, second: Boxes, same_class: bool = True) -> list[tuple[int, int]]:
    """The largest set of pairs of boxes with an IoU of at least 0.5 in which each box occurs at most once.

    Args:
        first, second: The two sets.
        same_class: Whether only boxes of the same class match.

    Returns:
        The positions in both sets, for each pair.
    """
    allowed = box_iou(first.boxes, second.boxes) >= IOU
    if same_class:
        allowed &= first.classes[:, None] == second.classes
    rows, columns = linear_sum_assignment(allowed.numpy(), maximize=True)
    return [(int(row), int(column)) for row, column in zip(rows, columns, strict=True) if allowed[row, column]]


def agreement(first: Boxes, second: Boxes) -> tuple[int, int]:
    """The number of boxes in two sets that match a box of the other set, and the number of all boxes."""
    return 2 * len(match(first, second)), len(first.boxes) + len(second.boxes)


@torch.no_grad()
def evaluate(
    model: Any, setup: DetectorSetup, name: str, reference: nn.Module | None = None, form: str = "published"
) -> ModelMetrics:
    """All metrics except Acc_IN, in one pass over the images, one at a time.

    The match rate compares the detections (score of at least 0.5) on an image with those on a restyled copy. It is the
    share of all these boxes that match a box of the same class on the other image (IoU of at least 0.5).

    Args:
        model: A detector of Detectron2, with or without a method.
        setup: Its config, which defines how images are read and resized.
        name: Name of the registered data set.
        reference: The pretrained bottom-up network, in eval mode.
        form: Form of the energy.
    """
    model.eval()
    student = bottom_up(model)
    tap = make_tap(student, [stage for stage in STAGES if stage in find_stages(student)])
    of_features, boxes = FeatureMetrics(form), truths(name)
    names = [*MetadataCatalog.get(name).thing_classes, BACKGROUND]
    confusion = torch.zeros(len(names), len(names), dtype=torch.long)
    kept, hits = [], []
    with tempfile.TemporaryDirectory() as folder:
        evaluator = BoxEvaluator(name, folder)
        evaluator.reset()
        for index, inputs in enumerate(progress(setup.loader(name), "evaluating")):
            with tap.collect(student) as features, _input_of(student) as seen:
                outputs = model(inputs)
            of_features.update(features, None if reference is None else tap.run(reference, seen[0]))
            evaluator.process(inputs, outputs)
            found = detections(outputs[0])
            truth = boxes[inputs[0]["image_id"]]
            kept.append(agreement(found, detections(model(restyled(inputs, setup.image_format, index))[0])))
            hits.append(agreement(found, truth))
            _count(confusion, truth, found)
        box = evaluator.evaluate()["bbox"]
    task, per_class = _task(box, names[:-1])
    return ModelMetrics(
        values={**task, "match_rate": _rate(kept)},
        per_class=per_class,
        confusion=confusion,
        axes=names,
        match=_shares(kept),
        score=_shares(hits),
        failure=[0.0 if math.isnan(share) else 1 - share for share in _shares(hits)],
        **of_features.found(),
    )


def bottom_up(model: Any) -> nn.Module:
    """The pretrained part: the network below a feature pyramid, or the backbone itself."""
    return below_pyramid(model.backbone)


def detections(output: dict[str, Any]) -> Boxes:
    """The detections of an image with a score of at least 0.5."""
    found = output["instances"].to("cpu")
    found = found[found.scores >= SCORE]
    return Boxes(found.pred_boxes.tensor, found.pred_classes)


def restyled(inputs: Sequence[dict[str, Any]], image_format: str, seed: int) -> list[dict[str, Any]]:
    """A batch with its images in another style, see :func:`gcisg_core.views.restyle`."""
    batch = []
    for item in inputs:
        image = in_rgb(partial(restyle, seed=seed), item["image"].float() / 255, image_format == "BGR")
        batch.append({**item, "image": image * 255})
    return batch


@contextmanager
def _input_of(network: nn.Module) -> Iterator[list[Tensor]]:
    seen: list[Tensor] = []
    handle = network.register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0]))
    try:
        yield seen
    finally:
        handle.remove()


def truths(name: str) -> dict[Any, Boxes]:
    """Image id -> its true boxes, without groups."""
    truths = {}
    for record in DatasetCatalog.get(name):
        items = [item for item in record.get("annotations", []) if not item.get("iscrowd", 0)]
        boxes = [BoxMode.convert(list(item["bbox"]), item["bbox_mode"], BoxMode.XYXY_ABS) for item in items]
        classes = torch.tensor([item["category_id"] for item in items], dtype=torch.long)
        truths[record["image_id"]] = Boxes(torch.tensor(boxes, dtype=torch.float).reshape(-1, 4), classes)
    return truths


def _count(confusion: Tensor, truth: Boxes, found: Boxes) -> None:
    """Add an image; boxes without a match are counted in the last row and column, the background."""
    pairs = match(truth, found, same_class=False)
    for row, column in pairs:
        confusion[truth.classes[row], found.classes[column]] += 1
    for row in set(range(len(truth.classes))) - {row for row, _ in pairs}:
        confusion[truth.classes[row], -1] += 1
    for column in set(range(len(found.classes))) - {column for _, column in pairs}:
        confusion[-1, found.classes[column]] += 1


def _shares(counts: Sequence[tuple[int, int]]) -> list[float]:
    return [matched / boxes if boxes else math.nan for matched, boxes in counts]


def _rate(counts: Sequence[tuple[int, int]]) -> Value:
    matched, boxes = (sum(column) for column in zip(*counts, strict=True))
    return 100 * matched / boxes if boxes else f"no box has a score of at least {SCORE}"


def _task(box: dict[str, float], names: Sequence[str]) -> tuple[dict[str, Value], dict[str, dict[str, Value]]]:
    """The metrics of the data and of each class. Those that the evaluator leaves out have no box in the truth."""
    none = "no box of this kind in the truth"
    values: dict[str, Value] = {key: box.get(key, none) for key in HEADLINE}
    each = {names[0]: box.get("AP", none)} if len(names) == 1 else {n: box.get(f"AP-{n}", none) for n in names}
    return values, {name: {"AP": value} for name, value in each.items()}
