"""The steps by which a run's evaluation makes an image the network's input, without those that read labels."""

from __future__ import annotations

from typing import Any

from mmengine.config import Config
from mmseg.registry import TRANSFORMS

# The decoder of `gcisg_suite.images.read_image`, which reads the run's images in the place of mmcv's own.
LOADER = {"type": "LoadImageFromFile", "imdecode_backend": "pillow"}


def evaluation_steps(config: Config, loader: dict[str, Any]) -> list[dict[str, Any]]:
    """What the run's test data go through, beginning with a loader of images; all data sets of a list alike.

    Args:
        config: Of a run; without test data its `test_pipeline` counts, and without that images are loaded and packed.
        loader: The first step.
    """
    dataset = (config.get("test_dataloader") or {}).get("dataset") or {}
    while "dataset" in dataset or dataset.get("datasets"):
        dataset = dataset["dataset"] if "dataset" in dataset else dataset["datasets"][0]
    steps = dataset.get("pipeline") or config.get("test_pipeline") or [{"type": "PackSegInputs"}]
    kept = (dict(step) for step in steps if not str(step["type"]).rpartition(".")[2].startswith("Load"))
    # What is packed beside the image is of the labels and of this suite's evaluation.
    return [loader, *({key: value for key, value in step.items() if key != "meta_keys"} for step in kept)]


def imports_of(config: Config, steps: list[dict[str, Any]], *kinds: type) -> list[str]:
    """The modules that a config of plain mmseg must import: those that the run's own names, and ours that it uses.

    Args:
        config: Of the run.
        steps: Of the pipeline.
        *kinds: Classes of the model's parts.
    """
    named = (config.get("custom_imports") or {}).get("imports") or []
    theirs = [named] if isinstance(named, str) else list(named)
    used = [TRANSFORMS.get(step["type"]) for step in steps] + [*kinds]
    ours = [kind.__module__ for kind in used[1:] if kind is not None and kind.__module__.startswith("gcisg")]
    return list(dict.fromkeys([*(name for name in theirs if not name.startswith("gcisg")), *ours]))
