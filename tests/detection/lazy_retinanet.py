"""A LazyConfig that Detectron2 0.5 knows too: a small RetinaNet with a method, on two data sets beside it."""

from pathlib import Path

import torch
from detectron2.config import LazyCall as L
from detectron2.data import (
    DatasetMapper,
    build_detection_test_loader,
    build_detection_train_loader,
    get_detection_dataset_dicts,
)
from detectron2.data import transforms as T
from detectron2.evaluation import COCOEvaluator
from detectron2.layers import ShapeSpec
from detectron2.modeling.anchor_generator import DefaultAnchorGenerator
from detectron2.modeling.backbone import FPN, BasicStem, ResNet
from detectron2.modeling.backbone.fpn import LastLevelP6P7
from detectron2.modeling.box_regression import Box2BoxTransform
from detectron2.modeling.matcher import Matcher
from detectron2.modeling.meta_arch.retinanet import RetinaNet, RetinaNetHead
from detectron2.solver import WarmupParamScheduler
from detectron2.solver.build import get_default_optimizer_params
from fvcore.common.param_scheduler import MultiStepParamScheduler

from gcisg_det.datasets import register_coco
from gcisg_det.lazy import add_method

for _name in ("synthetic", "real"):
    register_coco(_name, str(Path(__file__).parent / _name / "own.json"), str(Path(__file__).parent / _name))
model = L(RetinaNet)(
    backbone=L(FPN)(
        bottom_up=L(ResNet)(
            stem=L(BasicStem)(in_channels=3, out_channels=64, norm="FrozenBN"),
            stages=L(ResNet.make_default_stages)(depth=18, norm="FrozenBN"),
            out_features=["res3", "res4", "res5"],
        ),
        in_features=["res3", "res4", "res5"],
        out_channels=16,
        top_block=L(LastLevelP6P7)(in_channels=512, out_channels=16),
    ),
    head=L(RetinaNetHead)(input_shape=[ShapeSpec(channels=16)] * 5, num_classes=2, conv_dims=[16], num_anchors=1),
    anchor_generator=L(DefaultAnchorGenerator)(
        sizes=[[32], [64], [128], [256], [512]], aspect_ratios=[1.0], strides=[8, 16, 32, 64, 128]
    ),
    box2box_transform=L(Box2BoxTransform)(weights=[1.0] * 4),
    anchor_matcher=L(Matcher)(thresholds=[0.4, 0.5], labels=[0, -1, 1], allow_low_quality_matches=True),
    num_classes=2,
    head_in_features=["p3", "p4", "p5", "p6", "p7"],
    pixel_mean=[103.5, 116.3, 123.7],
    pixel_std=[1.0, 1.0, 1.0],
)
add_method(model, method="gcisg", photometric=(0.4, 0.4, 0.4, 0.1), queue_length=8)
_resize = [L(T.ResizeShortestEdge)(short_edge_length=64, max_size=96)]
dataloader = dict(  # noqa: C408
    train=L(build_detection_train_loader)(
        dataset=L(get_detection_dataset_dicts)(names="synthetic"),
        mapper=L(DatasetMapper)(is_train=True, augmentations=_resize, image_format="BGR"),
        total_batch_size=2,
        num_workers=0,
    ),
    test=L(build_detection_test_loader)(
        dataset=L(get_detection_dataset_dicts)(names="real", filter_empty=False),
        mapper=L(DatasetMapper)(is_train=False, augmentations=_resize, image_format="BGR"),
        num_workers=0,
    ),
    evaluator=L(COCOEvaluator)(dataset_name="real"),
)
optimizer = L(torch.optim.SGD)(params=L(get_default_optimizer_params)(), lr=0.001, momentum=0.9)
lr_multiplier = L(WarmupParamScheduler)(
    scheduler=L(MultiStepParamScheduler)(values=[1.0, 0.1], milestones=[3], num_updates=4),
    warmup_factor=0.1,
    warmup_length=0.01,
)
train = dict(  # noqa: C408
    output_dir="./output",
    init_checkpoint="",
    max_iter=4,
    amp={"enabled": False},
    checkpointer={"period": 2},
    eval_period=4,
    log_period=1,
    device="cuda",
    seed=3,
)
