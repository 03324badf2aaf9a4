"""The steps with which a run's evaluation turns an image into the network's input, without those that read labels."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
from mmengine.config import Config
from mmseg.registry import TRANSFORMS

from gcisg_seg.datasets import LoadImageFromFile

# The decoder of `gcisg_suite.images.read_image`, which reads the run's images instead of mmcv's default.
LOADER = {"type": "LoadImageFromFile", "imdecode_backend": "pillow"}
OF_LABELS = ("gt_", "seg_")  # prefixes of mmseg's keys for labels


def evaluation_steps(config: Config) -> list[dict[str, Any]]:
    """The pipeline of the run's test data, which begins with an image loader. For several data sets, that of the first.

    The loader is the run's own; in place of this suite's loader, mmcv's with the same settings.

    Args:
        config: The config of a run. Without test data, its `test_pipeline` is used; without that, images are only
            loaded and packed.
    """
    dataset = (config.get("test_dataloader") or {}).get("dataset") or {}
    while "dataset" in dataset or dataset.get("datasets"):
        dataset = dataset["dataset"] if "dataset" in dataset else dataset["datasets"][0]
    steps = dataset.get("pipeline") or config.get("test_pipeline") or [{"type": "PackSegInputs"}]
    loader, *rest = steps if _loads(steps[0]) else [LOADER, *steps]
    # The additional meta keys are for labels and for this suite's evaluation.
    kept = [{key: value for key, value in step.items() if key != "meta_keys"} for step in rest if not _loads(step)]
    return [_plain(dict(loader)), *_of_images(kept)]


def decoded(loader: dict[str, Any]) -> dict[str, Any]:
    """The first step for images that are already decoded, in place of a loader."""
    return {"type": "LoadImageFromNDArray", "to_float32": bool(loader.get("to_float32"))}


def _plain(loader: dict[str, Any]) -> dict[str, Any]:
    """The loader of plain mmseg that returns the same pixels."""
    if not issubclass(TRANSFORMS.get(loader["type"]) or object, LoadImageFromFile):
        return loader
    decodes = loader.get("color_type", "color") == "color" and not loader.get("backend_args")
    return {**loader, **(LOADER if decodes else {"type": LOADER["type"]})}


def _loads(step: dict[str, Any]) -> bool:
    return str(step["type"]).rpartition(".")[2].startswith("Load")


def _of_images(steps: list[dict[str, Any]]) -> Iterator[dict[str, Any]]:
    """The steps without those that fail on an image without labels."""
    size = (64, 64)
    results: Any = {"img": np.zeros((*size, 3), np.uint8), "img_shape": size, "ori_shape": size}
    for number, step in enumerate(steps):
        try:
            results = TRANSFORMS.build(step)(results)
        except KeyError as error:
            if str(error.args[0]).startswith(OF_LABELS):
                continue
            yield from steps[number:]
            return
        except Exception:  # the step does not work on this dummy image
            yield from steps[number:]
            return
        yield step


def imports_of(config: Config, steps: list[dict[str, Any]], *kinds: type) -> list[str]:
    """The modules that an exported config must import: those that the run's config imports, and those of this suite.

    Args:
        config: The config of the run.
        steps: The steps of the pipeline.
        *kinds: Classes of the model's parts.
    """
    named = (config.get("custom_imports") or {}).get("imports") or []
    theirs = [named] if isinstance(named, str) else list(named)
    used = [TRANSFORMS.get(step["type"]) for step in steps] + [*kinds]
    ours = [kind.__module__ for kind in used[1:] if kind is not None and kind.__module__.startswith("gcisg")]
    return list(dict.fromkeys([*(name for name in theirs if not name.startswith("gcisg")), *ours]))
