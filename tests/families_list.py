"""Which families docs/models.md lists, and their configs, shrunk."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import yaml

TASKS = {
    "segmentation": "MMSegmentation",
    "detection": "Detectron2 0.5",
    "classification": "Classification, torchvision and timm",
}
# Of mmseg's models that are no file of `_base_/models`: a config of the model zoo.
ZOO = {
    "ddrnet_23-slim": "ddrnet/ddrnet_23-slim_in1k-pre_2xb6-120k_cityscapes-1024x1024.py",
    "knet_r50-d8_fcn": "knet/knet-s3_r50-d8_fcn_8xb2-adamw-80k_ade20k-512x512.py",
    "mask2former_r50": "mask2former/mask2former_r50_8xb2-90k_cityscapes-512x1024.py",
    "maskformer_r50": "maskformer/maskformer_r50-d32_8xb2-160k_ade20k-512x512.py",
    "mobilenet_v2-d8_fcn": "mobilenet_v2/mobilenet-v2-d8_fcn_4xb2-80k_cityscapes-512x1024.py",
    "pidnet-s": "pidnet/pidnet-s_2xb6-120k_1024x1024-cityscapes.py",
    "resnest_s101-d8_fcn": "resnest/resnest_s101-d8_fcn_4xb2-80k_cityscapes-512x1024.py",
    "segnext_mscan-t": "segnext/segnext_mscan-t_1xb16-adamw-160k_ade20k-512x512.py",
}
UNSHRUNK = (
    "ddrnet_23-slim",
    "knet_r50-d8_fcn",
    "mobilenet_v2-d8_fcn",
    "pidnet-s",
    "resnest_s101-d8_fcn",
    "segnext_mscan-t",
)
TWO = 'train_cfg = dict(type="IterBasedTrainLoop", max_iters=2)\nrandomness = dict(seed=0)\n' + (
    'default_hooks = dict(logger=dict(type="LoggerHook", interval=1), '
    'checkpoint=dict(type="CheckpointHook", by_epoch=False, interval=1))\n'
)
SEGMENTOR = (
    TWO
    + """default_scope = "mmseg"
custom_imports = dict(imports=["gcisg_seg.registry"])
custom_hooks = [dict(type="RegularizerHook")]
resize = dict(type="Resize", scale=({size}, {size}), keep_ratio=False)
train_pipeline = [
    dict(type="LoadImageFromFile"), dict(type="LoadAnnotations"), resize, {edge}dict(type="PackSegInputs"),
]
test_pipeline = [dict(type="LoadImageFromFile"), resize, dict(type="LoadAnnotations"), dict(type="PackSegInputs")]
data = dict(
    type="BaseSegDataset", data_root={root!r}, img_suffix=".png", metainfo=dict(classes=("road", "car", "person")),
    data_prefix=dict(img_path="images", seg_map_path="labels"),
)
train_dataloader = dict(
    batch_size=2, sampler=dict(type="SeededSampler"),
    dataset=dict(type="SeededDataset", dataset=dict(**data, pipeline=train_pipeline)),
)
test_dataloader = dict(
    batch_size=1, sampler=dict(type="DefaultSampler", shuffle=False),
    dataset=dict(**data, test_mode=True, pipeline=test_pipeline),
)
test_evaluator = dict(type="IoUMetric")
test_cfg = dict(type="TestLoop")
optim_wrapper = dict(type="OptimWrapper", optimizer=dict(type="SGD", lr=0.01))
model = {model!r}
"""
)
REGULARIZER = {"method": "gcisg", "queue_length": 32, "embedding_dim": 8, "patches": (2, 2)}


def segmentation() -> list[str]:
    """Every file of mmseg's `_base_/models`, and the models that are none."""
    from tests.segmentation.test_seg_families import MODELS

    return [path.stem for path in MODELS] + [*ZOO]


def segmentor(name: str, data: Path) -> str:
    """The config of a family of mmseg."""
    import mmseg
    from mmengine.config import Config

    from tests.segmentation import test_seg_families as base

    configs = Path(mmseg.__file__).parent / ".mim/configs"
    file = configs / ZOO[name] if name in ZOO else base.COMPLETED.get(name, configs / f"_base_/models/{name}.py")
    whole = name in UNSHRUNK or name in base.AS_IT_IS
    model: dict[str, Any] = base.shrink(Config.fromfile(file).model.to_dict(), () if whole else base.WIDTHS)
    model = base.without_weights(model)
    if name.startswith("resnest"):
        model["backbone"]["depth"] = 50
    given = model.get("data_preprocessor") or {}
    kept = {key: given[key] for key in ("mean", "std", "bgr_to_rgb", "pad_val", "seg_pad_val") if key in given}
    size = base.SIZES.get(name, 64)
    model.update(
        type="SynToReal", parent=model["type"], regularizer=REGULARIZER,
        data_preprocessor={"type": "PhotometricSegDataPreProcessor", "size": (size, size), **kept},
    )  # fmt: skip
    model.setdefault("test_cfg", {"mode": "whole"})
    if (model["test_cfg"] or {}).get("mode") == "slide":
        model["test_cfg"].update(crop_size=(size, size), stride=(size // 2, size // 2))
    edge = 'dict(type="GenerateEdge", edge_width=4), ' if name.startswith("pidnet") else ""
    return SEGMENTOR.format(size=size, edge=edge, root=str(data), model=three_classes(model))


def three_classes(value: Any) -> Any:
    """The model for the classes of the data; weights of the classes that it had are left out.

    mmdetection's heads need theirs; the last is that of "no object".
    """
    if isinstance(value, dict):
        kept = {key: three_classes(inner) for key, inner in value.items() if key != "class_weight"}
        if str(kept.get("type")).startswith("mmdet.") and "class_weight" in value:
            kept["class_weight"] = [*value["class_weight"][:3], value["class_weight"][-1]]
        return {**kept, **({"num_classes": 3} if "num_classes" in kept else {})}
    return type(value)(map(three_classes, value)) if isinstance(value, list | tuple) else value


FPN = {"BACKBONE": {"NAME": "build_resnet_fpn_backbone"}, "RESNETS": {"OUT_FEATURES": ["res2", "res3", "res4", "res5"]},
       "FPN": {"IN_FEATURES": ["res2", "res3", "res4", "res5"], "OUT_CHANNELS": 32},
       "RPN": {"IN_FEATURES": ["p2", "p3", "p4", "p5", "p6"]},
       "ANCHOR_GENERATOR": {"SIZES": [[32], [64], [128], [256], [512]]},
       "ROI_HEADS": {"NAME": "StandardROIHeads", "IN_FEATURES": ["p2", "p3", "p4", "p5"]},
       "ROI_BOX_HEAD": {"NAME": "FastRCNNConvFCHead", "POOLER_RESOLUTION": 7}}  # fmt: skip
RETINA = {"BACKBONE": {"NAME": "build_retinanet_resnet_fpn_backbone"}, "FPN": {"IN_FEATURES": ["res3", "res4", "res5"]},
          "RESNETS": {"OUT_FEATURES": ["res3", "res4", "res5"]}, "RETINANET": {"NUM_CLASSES": 3, "NUM_CONVS": 1},
          "ANCHOR_GENERATOR": {"SIZES": [[32], [64], [128], [256], [512]]}}  # fmt: skip
C4 = {"ROI_HEADS": {"NAME": "Res5ROIHeads"}}  # Detectron2's default
DC5 = {"BACKBONE": {"NAME": "build_resnet_backbone"}, "RESNETS": {"OUT_FEATURES": ["res5"], "RES5_DILATION": 2},
       "RPN": {"IN_FEATURES": ["res5"]}, "ROI_BOX_HEAD": {"NAME": "FastRCNNConvFCHead", "POOLER_RESOLUTION": 7},
       "ROI_HEADS": {"NAME": "StandardROIHeads", "IN_FEATURES": ["res5"]}}  # fmt: skip
STAGE3 = {"STAGES_GUIDANCE": [3], "STAGES_CI": [3]}
# Family -> parent, its keys of MODEL, and those of REGULARIZER.
DETECTION: dict[str, tuple[str, dict[str, Any], dict[str, Any]]] = {
    "Faster R-CNN FPN": ("GeneralizedRCNN", FPN, {}),
    "Faster R-CNN C4, stage 3": ("GeneralizedRCNN", C4, STAGE3),
    "Faster R-CNN DC5": ("GeneralizedRCNN", DC5, {}),
    "Cascade R-CNN": ("GeneralizedRCNN", {**FPN, "ROI_HEADS": {**FPN["ROI_HEADS"], "NAME": "CascadeROIHeads"},
                                          "ROI_BOX_HEAD": {**FPN["ROI_BOX_HEAD"], "CLS_AGNOSTIC_BBOX_REG": True}}, {}),
    "RetinaNet": ("RetinaNet", RETINA, {}),
    "Mask R-CNN FPN": ("GeneralizedRCNN", {**FPN, "MASK_ON": True, "ROI_MASK_HEAD": {
        "NAME": "MaskRCNNConvUpsampleHead", "NUM_CONV": 1, "CONV_DIM": 16, "POOLER_RESOLUTION": 14}}, {}),
    "LazyConfig, RetinaNet": ("RetinaNet", {}, {}),
}  # fmt: skip
SMALL: dict[str, dict[str, Any]] = {
    "RESNETS": {"DEPTH": 50, "STEM_OUT_CHANNELS": 32, "RES2_OUT_CHANNELS": 64, "WIDTH_PER_GROUP": 16},
    "ROI_BOX_HEAD": {"FC_DIM": 64, "NUM_FC": 1},
    "ROI_HEADS": {"NUM_CLASSES": 3, "SCORE_THRESH_TEST": 0.0},
    "RPN": {"PRE_NMS_TOPK_TRAIN": 100, "POST_NMS_TOPK_TRAIN": 50, "PRE_NMS_TOPK_TEST": 50, "POST_NMS_TOPK_TEST": 20},
    "RETINANET": {"SCORE_THRESH_TEST": 0.0},
}


LAZY = Path(__file__).with_name("detection") / "lazy_retinanet.py"


def lazy_detector(data: Path) -> str:
    """The LazyConfig of the tests, on the data of the families."""
    text = re.sub(r"(?m)^    register_coco.*", f"    register_coco(_name, '{data}/annotations.json', '{data}/images')",
                  LAZY.read_text())  # fmt: skip
    for old, new in (
        ("num_classes=2", "num_classes=3"), ("queue_length=8", "queue_length=32"),
        ("max_iter=4", "max_iter=2"), ("eval_period=4", "eval_period=2"), ('"period": 2', '"period": 1'),
        ("    pixel_mean", "    test_score_thresh=0.0,\n    pixel_mean"),
    ):  # fmt: skip
        assert old in text
        text = text.replace(old, new)
    return text


def is_lazy(name: str) -> bool:
    """Whether a family of Detectron2 is a LazyConfig."""
    return name.startswith("LazyConfig")


def detector(name: str, data: Path) -> str:
    """The config of a family of Detectron2."""
    if is_lazy(name):
        return lazy_detector(data)
    parent, keys, values = DETECTION[name]
    model = {**SMALL, **{key: {**SMALL[key], **value} if key in SMALL else value for key, value in keys.items()}}
    inputs = {"MIN_SIZE_TRAIN": [96], "MIN_SIZE_TEST": 96, "COLOR_JITTER": [0.4, 0.4, 0.4, 0.1]}
    coco = [[part, str(data / "annotations.json"), str(data / "images")] for part in ("family_train", "family_test")]
    config = {
        "MODEL": {"META_ARCHITECTURE": "SynToRealDetector", "PARENT_ARCHITECTURE": parent, "WEIGHTS": "",
                  "DEVICE": "cpu", **model},
        "DATASETS": {"COCO": coco, "TRAIN": ["family_train"], "TEST": ["family_test"]},
        "INPUT": inputs,
        "SOLVER": {"MAX_ITER": 2, "STEPS": [], "IMS_PER_BATCH": 2, "CHECKPOINT_PERIOD": 1, "BASE_LR": 0.001},
        "DATALOADER": {"NUM_WORKERS": 0},
        "SEED": 3,
        "REGULARIZER": {"METHOD": "gcisg", "QUEUE_LENGTH": 32, "EMBEDDING_DIM": 8, **values},
    }  # fmt: skip
    return yaml.safe_dump(config)


CLASSIFIER = """
_base_ = "BASE"
loader = dict(num_workers=0, persistent_workers=False)
data = dict(root="DATA", classes=["bird", "boat", "bus"], pipeline=dict(size=SIZE))
train_dataloader = dict(batch_size=3, **loader, dataset=dict(dataset=data))
val_dataloader = dict(batch_size=3, **loader, dataset=data)
test_dataloader = dict(batch_size=3, **loader, dataset=data)
train_cfg = dict(max_iters=2, val_interval=2)
default_hooks = dict(logger=dict(interval=1), checkpoint=dict(interval=1, max_keep_ckpts=-1))
randomness = dict(seed=0)
model = dict(backbone="NAME", num_classes=3, hidden=8, weights=None, backbone_options=OPTIONS,
             regularizer=dict(queue_length=32, embedding_dim=8, method="gcisg"))
"""
BASE = str(Path(__file__).parents[1] / "projects/classification/own_data.py")
RESNETS = ("resnet18", "resnet50", "resnext50_32x4d", "wide_resnet50_2")
TORCHVISION = (
    "convnext_tiny", "densenet121", "efficientnet_b0", "googlenet", "mobilenet_v2", "mobilenet_v3_small",
    "regnet_y_400mf", "shufflenet_v2_x0_5", "swin_t", "squeezenet1_1", "mnasnet0_5",
)  # fmt: skip
TIMM = (
    "cait_xxs24_224", "convnext_atto", "eca_nfnet_l0", "edgenext_xx_small", "fastvit_t8", "mixer_s32_224", "pvt_v2_b0",
    "vgg11", "vit_tiny_patch16_224", "xcit_nano_12_p16_224",
)  # fmt: skip
SIZE_224 = ("cait_xxs24_224", "mixer_s32_224", "xcit_nano_12_p16_224")  # they take that size alone
OPTIONS: dict[str, dict[str, Any]] = {"vgg11": {"mlp_ratio": 0.03125}}  # its linear layers hold nine tenths of it
CLASSIFICATION = {
    name: CLASSIFIER.replace("BASE", BASE)
    .replace("NAME", name)
    .replace("SIZE", "224" if name.rpartition(":")[2] in SIZE_224 else "32")
    .replace("OPTIONS", repr(OPTIONS.get(name.rpartition(":")[2])))
    for name in (*RESNETS, *(f"torchvision:{name}" for name in TORCHVISION), *(f"timm:{name}" for name in TIMM))
}
