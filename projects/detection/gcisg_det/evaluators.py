"""Builds the evaluators for an architecture's outputs on a data set, and selects the main metrics."""

from __future__ import annotations

import importlib.util
import logging
from collections import OrderedDict
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from detectron2.config import CfgNode
from detectron2.data import MetadataCatalog
from detectron2.evaluation import (
    CityscapesInstanceEvaluator,
    CityscapesSemSegEvaluator,
    COCOPanopticEvaluator,
    DatasetEvaluator,
    DatasetEvaluators,
    LVISEvaluator,
    PascalVOCDetectionEvaluator,
    SemSegEvaluator,
)

from gcisg_core.config import require

from .coco_evaluator import HEADLINE, BoxEvaluator
from .config import architecture, head_key

logger = logging.getLogger(f"detectron2.{__name__}")  # a child of the framework's logger, so that it uses its handlers

# Evaluated task -> its main metrics, in the order of printing.
HEADLINES: dict[str, tuple[str, ...]] = {
    "bbox": HEADLINE,
    "segm": HEADLINE,
    "keypoints": HEADLINE,
    "box_proposals": ("AR@100", "AR@1000"),
    "sem_seg": ("mIoU", "pACC"),
    "panoptic_seg": ("PQ", "SQ", "RQ"),
}
# Detectron2's data sets with their own evaluation rules, by the `evaluator_type` of their metadata.
OWN_RULES: dict[str, Callable[[str, str], DatasetEvaluator]] = {
    "cityscapes_instance": lambda name, _: CityscapesInstanceEvaluator(name),
    "cityscapes_sem_seg": lambda name, _: CityscapesSemSegEvaluator(name),
    "lvis": lambda name, folder: LVISEvaluator(name, output_dir=folder),
    "pascal_voc": lambda name, _: PascalVOCDetectionEvaluator(name),
}


def build_evaluator(cfg: CfgNode, name: str) -> DatasetEvaluator:
    """Build evaluators: COCO AP of boxes, masks and keypoints, or recall of proposals; mean IoU for label images.

    Panoptic quality is added if the data have panoptic labels and `panopticapi` is installed. Pascal VOC, LVIS and
    Cityscapes from the framework's catalogue are evaluated by their own rules.

    Raises:
        ValueError: the sigmas of the keypoints, or a number of classes or keypoints, do not fit the data.
        DataError: the data cannot be used.
    """
    check_numbers(cfg, name)
    folder = str(Path(cfg.OUTPUT_DIR) / "inference" / name)
    if own := OWN_RULES.get(MetadataCatalog.get(name).get("evaluator_type", "")):
        return own(name, folder)
    evaluators: list[DatasetEvaluator] = []
    if architecture(cfg) != "SemanticSegmentor":
        heads = {"segm": cfg.MODEL.MASK_ON, "keypoints": cfg.MODEL.KEYPOINT_ON}
        tasks = ["bbox", *(task for task, there in heads.items() if there)]
        evaluators.append(BoxEvaluator(name, folder, tasks, cfg.TEST.KEYPOINT_OKS_SIGMAS))
    if architecture(cfg) in ("SemanticSegmentor", "PanopticFPN"):
        stuff = MetadataCatalog.get(name).get("stuff_classes")
        require(bool(stuff), "DATASETS.TEST", name, f"data with label images for {architecture(cfg)}: DATASETS.SEM_SEG")
        evaluators.append(SemSegEvaluator(name, output_dir=folder))
    if architecture(cfg) == "PanopticFPN":
        evaluators += _panoptic(name, folder)
    return evaluators[0] if len(evaluators) == 1 else DatasetEvaluators(evaluators)


def _panoptic(name: str, folder: str) -> list[DatasetEvaluator]:
    """Return the evaluator of panoptic quality; if it cannot be used, warn why and return an empty list."""
    if not MetadataCatalog.get(name).get("panoptic_json"):
        lacks = "it has no panoptic labels (DATASETS.PANOPTIC)"
    elif importlib.util.find_spec("panopticapi") is None:
        lacks = "panopticapi is not installed: pip install git+https://github.com/cocodataset/panopticapi.git"
    else:
        return [COCOPanopticEvaluator(name, folder)]
    logger.warning("%s: AP of boxes and masks, and mean IoU, without panoptic quality: %s.", name, lacks)
    return []


def check_numbers(cfg: CfgNode, name: str) -> None:
    """Compare the numbers of classes and keypoints in a config with those of a data set, if it states them.

    Raises:
        ValueError: they differ; the message names the key.
    """
    metadata = MetadataCatalog.get(name)
    found: list[tuple[str, int, list[str]]] = []
    if architecture(cfg) not in ("SemanticSegmentor", "ProposalNetwork") and (key := head_key(cfg)):
        found.append((f"MODEL.{key}.NUM_CLASSES", cfg.MODEL[key].NUM_CLASSES, metadata.get("thing_classes", [])))
    if architecture(cfg) in ("SemanticSegmentor", "PanopticFPN"):
        number = cfg.MODEL.SEM_SEG_HEAD.NUM_CLASSES
        found.append(("MODEL.SEM_SEG_HEAD.NUM_CLASSES", number, metadata.get("stuff_classes", [])))
    if cfg.MODEL.KEYPOINT_ON:
        number, sigmas = cfg.MODEL.ROI_KEYPOINT_HEAD.NUM_KEYPOINTS, cfg.TEST.KEYPOINT_OKS_SIGMAS
        found.append(("MODEL.ROI_KEYPOINT_HEAD.NUM_KEYPOINTS", number, metadata.get("keypoint_names", [])))
        fits = len(sigmas) == number or (not sigmas and number == 17)
        what = f"{number} numbers, one per keypoint (COCO's: .025 to .107 of an object's size; COCO's 17 need none)"
        require(fits, "TEST.KEYPOINT_OKS_SIGMAS", sigmas, what)
    for field, stated, names in found:
        if names and len(names) != stated:
            raise ValueError(f"{field} is {stated}, but {name} has {len(names)}: {', '.join(names)}")


def main_metrics(results: Mapping[str, Mapping[str, float]]) -> dict[str, float]:
    """Return the metrics of boxes or, without boxes, of the first evaluated task; empty if there are none."""
    return dict(next((results[task] for task in HEADLINES if task in results), {}))


def headline(results: Mapping[str, Mapping[str, float]]) -> str:
    """Return the main metrics as text."""
    parts = OrderedDict[str, str]()
    for task, keys in HEADLINES.items():
        values: Mapping[str, Any] = results.get(task, {})
        if found := [f"{key} {values[key]:.2f}" for key in keys if key in values]:
            parts[task] = ", ".join(found)
    if list(parts) == ["bbox"]:
        return parts["bbox"]
    return "; ".join(f"{task} {text}" for task, text in parts.items()) or "no AP: the test data have no box"
