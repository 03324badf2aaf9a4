"""The images that checkpoints of a detector are chosen on."""

from __future__ import annotations

from pathlib import Path

from detectron2.config import CfgNode


def target_config(cfg: CfgNode) -> CfgNode:
    """An unfrozen copy; the first of `DATASETS.TEST` is used."""
    cfg = cfg.clone()
    cfg.defrost()
    return cfg


def source_config(cfg: CfgNode, data: str) -> CfgNode:
    """A copy that tests on source images.

    Args:
        cfg: The run's config.
        data: A folder for `DATASETS.ROOT`, in which the first of `DATASETS.TRAIN` is found, or a JSON file in COCO's
            format that lies above its images.
    """
    cfg = target_config(cfg)
    if Path(data).is_file():
        cfg.DATASETS.COCO = [["source_validation", data, str(Path(data).parent)]]
        cfg.DATASETS.TEST = ("source_validation",)
    else:
        cfg.DATASETS.ROOT, cfg.DATASETS.TEST = data, (cfg.DATASETS.TRAIN[0],)
    cfg.MODEL.WEIGHTS = ""  # nothing is compared with the pretrained network
    return cfg
