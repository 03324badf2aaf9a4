"""The plain frameworks beside this suite: the outputs of both for one image."""

from __future__ import annotations

import contextlib
import runpy
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch

from gcisg_core.safe_load import read_checkpoint


def weights(checkpoint: Path) -> dict[str, Any]:
    loaded = read_checkpoint(checkpoint)
    found: dict[str, Any] = loaded.get("state_dict") or loaded["model"]
    return found


def plain_segmentor(config: Path, checkpoint: Path, path: Path, picture: np.ndarray) -> tuple[Any, Any]:
    from mmseg.apis import inference_model, init_model

    from gcisg_core.integrations.mmengine import load_config
    from gcisg_seg.predict import Predictor

    model = init_model(str(path.with_suffix(".py")), str(path), device="cpu")
    predictor = Predictor(load_config(str(config), []), str(checkpoint), "cpu")
    torch.manual_seed(0)  # SegNeXt's head draws numbers in every forward pass
    result = inference_model(model, np.ascontiguousarray(picture[..., ::-1]))
    torch.manual_seed(0)
    ours = predictor.predict([picture])[0]
    return ours.seg_logits.data, result.seg_logits.data


def plain_detector(config: Path, checkpoint: Path, path: Path, picture: np.ndarray) -> tuple[Any, Any]:
    from detectron2.config import get_cfg
    from detectron2.engine import DefaultPredictor

    from gcisg_det.config import read_config
    from gcisg_det.predict import Predictor

    if config.suffix == ".py":
        return lazy_detectors(config, checkpoint, path, picture)
    cfg = get_cfg()
    with contextlib.chdir(path.parent) if hasattr(contextlib, "chdir") else contextlib.nullcontext():
        cfg.merge_from_file(str(path.with_suffix(".yaml")))
        cfg.MODEL.WEIGHTS, cfg.MODEL.DEVICE = str(path), "cpu"
        theirs = DefaultPredictor(cfg)(picture[..., ::-1])["instances"]
    return as_rows(Predictor(read_config(config), str(checkpoint), "cpu", 0.0).predict([picture])[0], theirs)


def as_rows(*results: Any) -> tuple[Any, ...]:
    """Of each, (boxes, 5): corners and score; and the pixels of its masks, if it has some."""
    return tuple(
        torch.cat(
            [r.pred_boxes.tensor, r.scores[:, None], *([r.pred_masks.flatten(1)] if r.has("pred_masks") else [])], 1
        )
        for r in results
    )


def lazy_detectors(config: Path, checkpoint: Path, path: Path, picture: np.ndarray) -> tuple[Any, ...]:
    from detectron2.checkpoint import DetectionCheckpointer
    from detectron2.config import LazyConfig, instantiate
    from detectron2.data import transforms as T

    from gcisg_det import lazy
    from gcisg_det.predict import Predictor

    plain = LazyConfig.load(str(path.with_suffix(".yaml")))
    model = instantiate(plain.model).eval()
    DetectionCheckpointer(model).load(str(path))
    sized = T.AugInput(picture[..., ::-1])
    T.AugmentationList([*instantiate(plain.dataloader.test.mapper.augmentations)])(sized)
    height, width = picture.shape[:2]
    given = {"image": torch.as_tensor(sized.image.transpose(2, 0, 1).copy()), "height": height, "width": width}
    with torch.no_grad():
        theirs = model([given])[0]["instances"]
    return as_rows(Predictor(lazy.read_config(str(config)), str(checkpoint), "cpu", 0.0).predict([picture])[0], theirs)


def plain_classifier(config: Path, checkpoint: Path, path: Path, picture: np.ndarray) -> tuple[Any, Any]:
    from mmengine.registry import MODELS

    from gcisg_core.integrations.mmengine import load_config

    run = load_config(str(config), [])
    images = torch.rand(2, 3, *2 * [run.data.pipeline.size])
    ours = MODELS.build(run.model).eval()
    ours.load_state_dict(weights(checkpoint))
    written = runpy.run_path(str(path.with_suffix(".py")))
    assert (written["MEAN"], written["STD"]) == (ours.backbone.plain.mean, ours.backbone.plain.std)
    hooks = ours.backbone._forward_pre_hooks.values()  # the change of normalisation, if there is one
    with torch.no_grad():
        (normalised,) = next(iter(hooks))(ours.backbone, (images,)) if hooks else (images,)
        return ours.scores(images), written["load"](str(path))(normalised)


PLAIN: dict[str, Callable[..., tuple[Any, Any]]] = {
    "segmentation": plain_segmentor, "detection": plain_detector, "classification": plain_classifier,
}  # fmt: skip
