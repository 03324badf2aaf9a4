"""A trained segmentor for plain MMSegmentation."""

from __future__ import annotations

from typing import Any

from mmengine.config import Config
from mmengine.registry import init_default_scope
from mmengine.runner import CheckpointLoader
from mmseg.registry import DATASETS, MODELS

from gcisg_core.config import require
from gcisg_core.release import Release, without_method


def release(config: Config, checkpoint: str) -> Release:
    """The segmentor without the method, and a config that needs mmseg alone.

    It was tried: the plain segmentor was built and took the tensors strictly.

    Raises:
        ValueError: the backbone is this suite's own or was changed (IBN-Net, MixStyle), so mmseg has no such network.
        RuntimeError: the checkpoint is one of another model.
    """
    init_default_scope("mmseg")
    model = config.model.copy()
    kind = MODELS.get(model.type)
    if kind.__module__.startswith("gcisg"):
        model.type = kind.__mro__[2].__name__  # the segmentor behind SynToRealMixin
    model.pop("regularizer", None)
    require(not model.pop("changes", None), "model.changes", config.model.get("changes"), "none: mmseg lacks them")
    own = MODELS.get(model.backbone.type).__module__.startswith("gcisg")
    require(not own, "model.backbone.type", model.backbone.type, "a backbone of mmseg, to be loaded without this suite")
    model.backbone.init_cfg = None
    preprocessor = model.data_preprocessor
    preprocessor.type = "SegDataPreProcessor"
    for key in ("views", "photometric"):
        preprocessor.pop(key, None)
    plain = Config(
        {
            "default_scope": "mmseg",
            "model": model,
            "test_pipeline": [{"type": "LoadImageFromFile"}, {"type": "PackSegInputs"}],
            "load_from": "{checkpoint}",
        }
    )
    loaded = CheckpointLoader.load_checkpoint(checkpoint, map_location="cpu")
    state = without_method(loaded.get("state_dict", loaded))
    MODELS.build(plain.model.copy()).load_state_dict(state, strict=True)
    seed = loaded.get("meta", {}).get("seed")
    meta = {"dataset_meta": _classes(config.test_dataloader.dataset), "seed": seed}
    return Release(state, "state_dict", plain.pretty_text, ".py", meta)


def _classes(dataset: Config) -> dict[str, Any]:
    """Names and colours of the classes, those that the config chose."""
    known = getattr(DATASETS.get(dataset.type), "METAINFO", {})
    given = dataset.get("metainfo", {})
    classes = list(given.get("classes", known.get("classes", ())))
    colours = dict(zip(known.get("classes", ()), known.get("palette", ()), strict=True))
    return {"classes": classes, "palette": given.get("palette") or [colours[name] for name in classes]}
