"""Every `_base_/models/*.py` of the installed mmseg, as it is but for its widths, takes the method and makes a step.

So does Mask2Former, which is not one of these files.
"""

from __future__ import annotations

import copy
import logging
from importlib.util import find_spec
from pathlib import Path

import mmseg
import pytest
import torch
from mmengine.config import Config, ConfigDict
from mmengine.logging import MMLogger
from mmengine.model import revert_sync_batchnorm
from mmengine.registry import init_default_scope

import gcisg_seg.registry  # noqa: F401
from gcisg_core.stages import find_backbone
from tests.segmentation.segmentors import GCISG, PREPROCESSOR, batch, sgd

CONFIGS = Path(mmseg.__file__).parent / ".mim/configs"
MODELS = sorted((CONFIGS / "_base_/models").glob("*.py"))
MASK2FORMER = CONFIGS / "mask2former/mask2former_r50_8xb2-90k_cityscapes-512x1024.py"  # of mmdetection's parts
# Files whose heads do not fit their backbones; the model zoo's complete them.
COMPLETED = {
    "fpn_poolformer_s12": CONFIGS / "poolformer/fpn_poolformer_s12_8xb4-40k_ade20k-512x512.py",
    "upernet_convnext": CONFIGS / "convnext/convnext-tiny_upernet_8xb2-amp-160k_ade20k-512x512.py",
    "upernet_mae": CONFIGS / "mae/mae-base_upernet_8xb2-amp-160k_ade20k-512x512.py",
}
# What cannot be built here, and what is said of it.
EXCEPTIONS = {
    "san_vit-b16": "no attribute 'init_weights'",  # mmseg starts its head from CLIP's weights alone
    "vpd_sd": "decode_head",  # the file has none
}
# Of parts of mmdetection or mmpretrain.
OF_PARTS = {MASK2FORMER.stem: "mmdet", "fpn_poolformer_s12": "mmpretrain", "upernet_convnext": "mmpretrain"}
EXCEPTIONS |= {name: module for name, module in OF_PARTS.items() if find_spec(module) is None}
# Narrow, or their widths are tied to each other or to a name.
AS_IT_IS = (
    "bisenetv1_r18-d32", "bisenetv2", "cgnet", "erfnet_fcn", "fast_scnn", "fpn_poolformer_s12", "lraspp_m-v3-d8",
    "stdc", "upernet_convnext",
)  # fmt: skip
WIDTHS = {
    "in_channels", "channels", "mid_channels", "out_channels", "base_channels", "stem_channels", "num_channels",
    "embed_dims", "embed_dim", "c1_in_channels", "c1_channels", "ocr_channels", "isa_channels", "ema_channels",
    "psa_channels", "layer_channels", "mla_channels", "mlahead_channels", "post_process_channels", "key_channels",
    "feat_channels", "feedforward_channels", "num_feats",
}  # fmt: skip
FIXED = {"num_classes": 19, "img_size": 64}
SIZES = {"lraspp_m-v3-d8": 400}  # its head pools windows of 49 x 49
RESNETS = ("ResNet", "ResNetV1c")


def shrink(value, widths, key=""):
    """The same config with an eighth of each width and small position embeddings."""
    if isinstance(value, dict):
        default = {"base_channels": 64, "stem_channels": 64} if value.get("type") in RESNETS else {}
        return {name: shrink(inner, widths, name) for name, inner in {**default, **value}.items()}
    if isinstance(value, list | tuple) and key not in FIXED:
        return type(value)(shrink(inner, widths, key) for inner in value)
    if key in FIXED:
        return FIXED[key]
    return value // 8 if key in widths and isinstance(value, int) and value >= 16 else value


def without_weights(model):
    """A model's config without pretrained weights."""
    model.pop("pretrained", None)
    if "backbone" in model:
        model["backbone"]["init_cfg"] = None
    if "text_encoder" in model:
        model["text_encoder"]["dataset_name"] = "cityscapes"  # the file leaves it open
    return model


def build(path):
    init_default_scope("mmseg")
    MMLogger.get_current_instance().setLevel(logging.WARNING)  # it lists every initial weight
    file = COMPLETED.get(path.stem, path)
    model = shrink(Config.fromfile(file).model.to_dict(), widths=() if path.stem in AS_IT_IS else WIDTHS)
    model = without_weights(model)
    preprocessor = {**PREPROCESSOR, "size": (SIZES.get(path.stem, 64),) * 2}
    parent = {"type": "SynToReal", "parent": model["type"]}
    return mmseg.registry.MODELS.build(
        ConfigDict({**model, **parent, "data_preprocessor": preprocessor, "regularizer": GCISG})
    )


def step(path):
    """The model after a step, its backbone before it, and the step's logs."""
    model = build(path)
    model.init_weights()
    model = revert_sync_batchnorm(model)  # as mmengine does on one device
    start = copy.deepcopy(find_backbone(model))
    model.train()
    size = SIZES.get(path.stem, 64)
    return model, start, model.train_step(batch([(size, size)] * 2), sgd(model))


@pytest.mark.parametrize("path", [*MODELS, MASK2FORMER], ids=lambda path: path.stem)
def test_takes_the_method_and_makes_a_step(path):
    torch.manual_seed(0)
    if path.stem in EXCEPTIONS:
        with pytest.raises(Exception, match=EXCEPTIONS[path.stem]):
            step(path)
        return
    model, start, logs = step(path)
    names = {f"loss_{term}_stage{stage}" for term in ("guidance", "ci") for stage in (3, 4)}
    assert names <= logs.keys()
    assert all(torch.as_tensor(value).isfinite().all() for name, value in logs.items() if "loss" in name)
    assert any(
        not torch.equal(value, start.get_parameter(name)) for name, value in find_backbone(model).named_parameters()
    )
    start.eval()
    tap, images = model.regularizer.taps[0], torch.rand(1, 3, 64, 64)
    with torch.no_grad():
        expected = tap.run(start, images)
    for stage, features in model.regularizer.reference(images).items():
        torch.testing.assert_close(features, expected[stage], rtol=1e-3, atol=1e-4)


def test_every_exception_is_there():
    assert {*EXCEPTIONS, *OF_PARTS, *COMPLETED, *AS_IT_IS} <= {path.stem for path in [*MODELS, MASK2FORMER]}
    assert len(MODELS) >= 50
