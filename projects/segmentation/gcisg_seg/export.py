"""Export a trained segmentor to plain MMSegmentation."""

from __future__ import annotations

from typing import Any

from mmengine.config import Config
from mmengine.registry import init_default_scope
from mmengine.runner import CheckpointLoader
from mmseg.registry import DATASETS, MODELS
from torch import Tensor, nn

from gcisg_core.config import require
from gcisg_core.export import Export, without_method
from gcisg_core.stages import BACKBONES
from gcisg_seg.pipelines import evaluation_steps, imports_of
from gcisg_seg.preprocessor import PhotometricSegDataPreProcessor
from gcisg_seg.segmentors import SynToReal, SynToRealMixin, parent_of


def export(config: Config, checkpoint: str) -> Export:
    """Export the segmentor without the method, and a config that needs only mmseg, with the run's test pipeline.

    Verified: the tensors load into the plain segmentor with `strict=True`. For a head of :mod:`gcisg_seg.heads`, which
    mmseg does not have, the config imports that module.

    Raises:
        ValueError: mmseg cannot build the backbone: it is part of or modified by this suite (IBN-Net, MixStyle).
        RuntimeError: the checkpoint belongs to another model.
    """
    trained_with = config.pretty_text
    init_default_scope("mmseg")
    model = config.model.copy()
    kind = MODELS.get(model.type)
    if kind is SynToReal:
        model.type = model.pop("parent", "EncoderDecoder")
    elif issubclass(kind, SynToRealMixin):
        model.type = parent_of(kind)
    model.pop("regularizer", None)
    require(
        not model.pop("backbone_plugins", None),
        "model.backbone_plugins",
        config.model.get("backbone_plugins"),
        "empty, because mmseg does not have these plugins",
    )
    key = next(name for name in BACKBONES if name in model)
    backbone, preprocessor = model[key], model.data_preprocessor
    own = MODELS.get(backbone.type).__module__.startswith("gcisg")
    require(not own, f"model.{key}.type", backbone.type, "a backbone of mmseg, so that exports load without this suite")
    backbone.init_cfg = None
    if MODELS.get(preprocessor.type) is PhotometricSegDataPreProcessor:
        preprocessor.type = "SegDataPreProcessor"
        for key in ("views", "photometric", "plain_views", "value_range"):
            preprocessor.pop(key, None)
    steps = evaluation_steps(config)
    plain = Config({"default_scope": "mmseg", "model": model, "test_pipeline": steps, "load_from": "{checkpoint}"})
    heads = model.get("decode_head") or []
    kinds = [MODELS.get(head.type) for head in (heads if isinstance(heads, list | tuple) else [heads])]
    if imports := imports_of(config, steps, *kinds):
        plain.custom_imports = {"imports": imports, "allow_failed_imports": False}
    loaded = CheckpointLoader.load_checkpoint(checkpoint, map_location="cpu")
    state = without_method(loaded.get("state_dict", loaded))
    network = MODELS.build(plain.model.copy())
    network.load_state_dict(state, strict=True)
    meta = {
        "dataset_meta": class_meta(config, loaded),
        "seed": loaded.get("meta", {}).get("seed", config.get("randomness", {}).get("seed")),
        "trained_with": trained_with,
    }
    size = preprocessor.get("size") or (512, 512)
    return Export(state, "state_dict", plain.pretty_text, ".py", meta, _Scores(network).eval(), (size[0], size[1]))


class _Scores(nn.Module):
    """Normalised images (B, 3, H, W) -> scores (B, classes, H, W), as mmseg predicts whole images."""

    def __init__(self, segmentor: Any) -> None:
        super().__init__()
        self.segmentor = segmentor

    def forward(self, images: Tensor) -> Tensor:
        # mmseg uses the first image's size for all; a list with one entry per image would fix the batch size.
        scores: Tensor = self.segmentor.encode_decode(images, [{"img_shape": images.shape[2:]}])
        return scores


def class_meta(config: Config, checkpoint: dict[str, Any]) -> dict[str, Any]:
    """Return names and colours of the classes, from the config or, if it has none, from the checkpoint."""
    dataset = config.get("test_dataloader", {}).get("dataset")
    if dataset is None:
        kept = checkpoint.get("meta", {})
        old = {key.lower(): kept[key] for key in ("CLASSES", "PALETTE") if key in kept}  # mmseg before 1.0
        return dict(kept.get("dataset_meta") or old)
    known = getattr(DATASETS.get(dataset.type), "METAINFO", {})
    given = dataset.get("metainfo", {})
    classes = list(given.get("classes", known.get("classes", ())))
    colours = dict(zip(known.get("classes", ()), known.get("palette", ()), strict=True))
    palette = given.get("palette") or [colours[name] for name in classes if name in colours]
    return {"classes": classes, "palette": palette if len(palette) == len(classes) else []}
