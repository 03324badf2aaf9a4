# Cityscapes val as the target: single scale, whole image, 19 classes.
test_pipeline = [
    dict(type="LoadCheckedImage"),
    dict(type="LoadLabelIds"),
    dict(type="PackSegInputs", meta_keys=("img_path", "seg_map_path", "ori_shape", "img_shape", "domain")),
]
val_dataloader = dict(
    batch_size=1,
    num_workers=2,
    persistent_workers=True,
    sampler=dict(type="DefaultSampler", shuffle=False),
    dataset=dict(
        type="CityscapesLabelIdsDataset",
        data_root="{{$GCISG_DATA:data}}/cityscapes",
        split="val",
        test_mode=True,
        pipeline=test_pipeline,
    ),
)
test_dataloader = val_dataloader
val_evaluator = dict(type="DomainIoUMetric", iou_metrics=["mIoU"])
test_evaluator = val_evaluator
