"""Segmentors of mmseg, shrunk, that the project's code was not written for."""

from __future__ import annotations

from typing import Any

import torch
from mmengine.config import ConfigDict
from mmengine.optim import OptimWrapper
from mmengine.registry import init_default_scope
from mmengine.structures import PixelData
from mmseg.structures import SegDataSample

CLASSES = 5
BN = {"type": "BN", "requires_grad": True}
GCISG = {"method": "gcisg", "queue_length": 64, "embedding_dim": 16, "patches": (2, 2)}
PREPROCESSOR = {
    "type": "PhotometricSegDataPreProcessor",
    "mean": [123.675, 116.28, 103.53],
    "std": [58.395, 57.12, 57.375],
    "bgr_to_rgb": True,
    "size": (64, 64),
}


def head(kind: str, in_channels: Any, in_index: Any, channels: int = 8, **kwargs: Any) -> dict[str, Any]:
    common = {"num_classes": CLASSES, "norm_cfg": BN, "align_corners": False}
    return {"type": kind, "in_channels": in_channels, "in_index": in_index, "channels": channels, **common, **kwargs}


def resnet(kind: str) -> dict[str, Any]:
    """ResNet-18 with widths 8, 16, 32, 64 and output stride 8."""
    shape = {"depth": 18, "stem_channels": 8, "base_channels": 8, "strides": (1, 2, 1, 1), "dilations": (1, 1, 2, 4)}
    return {"type": kind, "norm_cfg": BN, **shape}


FCN_AUX = head("FCNHead", 32, 2, num_convs=1, concat_input=False)
SEGMENTORS: dict[str, dict[str, Any]] = {
    "deeplabv3plus": {
        "backbone": resnet("ResNetV1c"),
        "decode_head": head("DepthwiseSeparableASPPHead", 64, 3, dilations=(1, 2), c1_in_channels=8, c1_channels=4),
        "auxiliary_head": FCN_AUX,
    },
    "pspnet": {
        "backbone": resnet("ResNetV1c"),
        "decode_head": head("PSPHead", 64, 3, pool_scales=(1, 2)),
        "auxiliary_head": FCN_AUX,
    },
    "segformer": {
        "backbone": {
            "type": "MixVisionTransformer",
            "embed_dims": 8,
            "num_layers": [1, 1, 1, 1],
            "num_heads": [1, 1, 2, 2],
            "drop_path_rate": 0.0,
        },
        "decode_head": head("SegformerHead", [8, 8, 16, 16], [0, 1, 2, 3]),
    },
    "upernet_swin": {
        "backbone": {
            "type": "SwinTransformer",
            "embed_dims": 8,
            "depths": (1, 1, 1, 1),
            "num_heads": (1, 1, 2, 2),
            "window_size": 4,
            "drop_path_rate": 0.0,
        },
        "decode_head": head("UPerHead", [8, 16, 32, 64], [0, 1, 2, 3], pool_scales=(1, 2)),
        "auxiliary_head": FCN_AUX,
    },
    "ocrnet": {
        "type": "SynToRealCascadeEncoderDecoder",
        "num_stages": 2,
        "backbone": resnet("ResNet"),
        "decode_head": [
            head("FCNHead", 32, 2, num_convs=1, concat_input=False),
            head("OCRHead", 64, 3, ocr_channels=8),
        ],
    },
}


def build(name: str, regularizer: dict[str, Any] | None = GCISG, **changes: Any) -> Any:
    """The segmentor with a method beside it, in train mode."""
    init_default_scope("mmseg")
    from mmseg.registry import MODELS

    import gcisg_seg.registry  # noqa: F401

    modes = {"train_cfg": {}, "test_cfg": {"mode": "whole"}, "data_preprocessor": PREPROCESSOR}
    config = {"type": "SynToRealEncoderDecoder", **modes, **SEGMENTORS[name], **changes}
    torch.manual_seed(0)
    model = MODELS.build(ConfigDict({**config, "regularizer": regularizer}))
    model.init_weights()
    model.train()
    return model


def batch(sizes: Any = ((64, 64), (64, 64)), seed: int = 0) -> dict[str, Any]:
    """What the data loader gives: images (3, H, W), uint8, BGR, and their labels."""
    generator = torch.Generator().manual_seed(seed)
    samples = []
    for height, width in sizes:
        labels = torch.randint(0, CLASSES, (1, height, width), generator=generator)
        shape = {"img_shape": (height, width), "ori_shape": (height, width)}
        samples.append(SegDataSample(gt_sem_seg=PixelData(data=labels), metainfo=shape))
    images = [torch.randint(0, 256, (3, *size), generator=generator, dtype=torch.uint8) for size in sizes]
    return {"inputs": images, "data_samples": samples}


def sgd(model: Any) -> OptimWrapper:
    return OptimWrapper(torch.optim.SGD(model.parameters(), lr=0.1))
