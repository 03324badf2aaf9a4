"""The steps by which a run's evaluation makes an image the network's input, without those that read labels."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
from mmengine.config import Config
from mmseg.registry import TRANSFORMS

from gcisg_seg.datasets import LoadImageFromFile

# The decoder of `gcisg_suite.images.read_image`, which reads the run's images in the place of mmcv's own.
LOADER = {"type": "LoadImageFromFile", "imdecode_backend": "pillow"}
OF_LABELS = ("gt_", "seg_")  # how mmseg's keys of labels begin


def evaluation_steps(config: Config) -> list[dict[str, Any]]:
    """What the run's test data go through, beginning with a loader of images; all data sets of a list alike.

    The loader is the run's own, or mmcv's with the settings of this suite's.

    Args:
        config: Of a run; without test data its `test_pipeline` counts, and without that images are loaded and packed.
    """
    dataset = (config.get("test_dataloader") or {}).get("dataset") or {}
    while "dataset" in dataset or dataset.get("datasets"):
        dataset = dataset["dataset"] if "dataset" in dataset else dataset["datasets"][0]
    steps = dataset.get("pipeline") or config.get("test_pipeline") or [{"type": "PackSegInputs"}]
    loader, *rest = steps if _loads(steps[0]) else [LOADER, *steps]
    # What is packed beside the image is of the labels and of this suite's evaluation.
    kept = [{key: value for key, value in step.items() if key != "meta_keys"} for step in rest if not _loads(step)]
    return [_plain(dict(loader)), *_of_images(kept)]


def decoded(loader: dict[str, Any]) -> dict[str, Any]:
    """The first step for images that come decoded, in the place of a loader."""
    return {"type": "LoadImageFromNDArray", "to_float32": bool(loader.get("to_float32"))}


def _plain(loader: dict[str, Any]) -> dict[str, Any]:
    """A loader as plain mmseg has it, with the same pixels."""
    if not issubclass(TRANSFORMS.get(loader["type"]) or object, LoadImageFromFile):
        return loader
    decodes = loader.get("color_type", "color") == "color" and not loader.get("backend_args")
    return {**loader, **(LOADER if decodes else {"type": LOADER["type"]})}


def _loads(step: dict[str, Any]) -> bool:
    return str(step["type"]).rpartition(".")[2].startswith("Load")


def _of_images(steps: list[dict[str, Any]]) -> Iterator[dict[str, Any]]:
    """The steps without those that ask for labels of an image that has none."""
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
        except Exception:  # it wants another image
            yield from steps[number:]
            return
        yield step


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
