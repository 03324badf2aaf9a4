# The miniature benchmark: drawn digits in GTAV's folders -> handwriting on photographs in Cityscapes' (see
# docs/miniature.md). Digits play eight classes of Cityscapes, the background is road.
root = "{{$GCISG_DATA:data}}/mini/scenes"
classes = ("road", "person", "rider", "car", "truck", "bus", "train", "motorcycle", "bicycle")
crop_size = (96, 96)
train_pipeline = [
    dict(type="LoadCheckedImage"),
    dict(type="LoadLabelIds"),
    dict(type="RandomResize", scale=(128, 96), ratio_range=(1.0, 1.4), keep_ratio=True),
    dict(type="RandomCrop", crop_size=crop_size),
    dict(type="PackSegInputs"),  # no flip: a mirrored digit is no digit
]
train_dataloader = dict(
    batch_size=8,
    num_workers=0,
    drop_last=True,
    sampler=dict(type="SeededSampler", shuffle=True),
    dataset=dict(
        type="SeededDataset",
        dataset=dict(
            type="GTAVDataset", data_root=root + "/gtav", metainfo=dict(classes=classes), pipeline=train_pipeline
        ),
    ),
)
test_pipeline = [
    dict(type="LoadCheckedImage"),
    dict(type="LoadLabelIds"),
    dict(type="PackSegInputs", meta_keys=("img_path", "seg_map_path", "ori_shape", "img_shape", "domain")),
]
val_dataloader = dict(
    batch_size=1,
    num_workers=0,
    sampler=dict(type="DefaultSampler", shuffle=False),
    dataset=dict(
        type="CityscapesLabelIdsDataset",
        data_root=root + "/cityscapes",
        split="val",
        test_mode=True,
        metainfo=dict(classes=classes),
        pipeline=test_pipeline,
    ),
)
test_dataloader = dict(**val_dataloader)
test_dataloader["dataset"] = dict(
    val_dataloader["dataset"],
    # Cityscapes keeps the labels of its own test split, so the reader does not offer it by name.
    data_prefix=dict(img_path="leftImg8bit/test", seg_map_path="gtFine/test"),
)
val_evaluator = dict(type="DomainIoUMetric", iou_metrics=["mIoU"], foreground=True)
test_evaluator = val_evaluator

# Nine of ten pixels are background. With class weights mmseg averages over labelled pixels, without avg_non_ignore.
class_weight = [0.3] + [1.0] * (len(classes) - 1)
model = dict(
    type="SynToRealEncoderDecoder",
    regularizer=dict(method="none"),
    backbone_plugins=dict(),  # of the backbone, see docs/methods.md
    data_preprocessor=dict(
        type="PhotometricSegDataPreProcessor",
        views=None,  # as many as the method needs
        mean=[123.675, 116.28, 103.53],
        std=[58.395, 57.12, 57.375],
        bgr_to_rgb=True,
        size=crop_size,
    ),
    backbone=dict(type="MiniResNetBackbone", weights="{{$GCISG_DATA:data}}/mini/reference.pth", out_indices=(1, 2, 3)),
    decode_head=dict(
        type="SegformerHead",  # a 1 x 1 convolution a stage, joined at stride 4: strokes are 3 to 8 pixels wide
        in_channels=[48, 96, 192],
        in_index=[0, 1, 2],
        channels=64,
        num_classes=len(classes),
        norm_cfg=dict(type="BN", requires_grad=True),
        align_corners=False,
        dropout_ratio=0.1,
        loss_decode=dict(type="CrossEntropyLoss", use_sigmoid=False, class_weight=class_weight),
    ),
    train_cfg=dict(),
    test_cfg=dict(mode="whole"),
)

max_iters = 400
train_cfg = dict(type="IterBasedTrainLoop", max_iters=max_iters, val_interval=max_iters)
val_cfg = dict(type="ValLoop")
test_cfg = dict(type="TestLoop")
optim_wrapper = dict(
    type="OptimWrapper",
    optimizer=dict(type="SGD", lr=0.1, momentum=0.9, nesterov=True, weight_decay=5e-4),
    clip_grad=dict(max_norm=2.0),
)
param_scheduler = [dict(type="CosineAnnealingLR", T_max=max_iters, by_epoch=False)]
default_hooks = dict(
    logger=dict(type="LoggerHook", interval=50, log_metric_by_epoch=False),
    checkpoint=dict(type="CheckpointHook", by_epoch=False, interval=1000, max_keep_ckpts=2),
)
