# Images and labels of your own; a config adds the folders and the classes, see docs/your_data.md.
train_pipeline = [
    dict(type="LoadCheckedImage"),
    dict(type="LoadClassLabels"),
    dict(type="RandomResize", scale=(1024, 1024), ratio_range=(0.5, 2.0), keep_ratio=True),  # of the longer edge
    dict(type="RandomCrop", crop_size=(512, 512), cat_max_ratio=0.75),
    dict(type="RandomFlip", prob=0.5),
    # No colour jitter here: both photometric views are drawn on the device, from the same geometry.
    dict(type="PackSegInputs"),
]
train_dataloader = dict(
    batch_size=8,  # of the whole job: divide by the number of GPUs
    num_workers=4,
    persistent_workers=True,
    drop_last=True,
    sampler=dict(type="SeededSampler", shuffle=True),
    dataset=dict(type="SeededDataset", dataset=dict(type="ImageLabelDataset", pipeline=train_pipeline)),
)
val_dataloader = dict(
    batch_size=1,
    num_workers=2,
    persistent_workers=True,
    sampler=dict(type="DefaultSampler", shuffle=False),
    dataset=dict(
        type="ImageLabelDataset",
        test_mode=True,
        pipeline=[
            dict(type="LoadCheckedImage"),
            dict(type="LoadClassLabels"),
            dict(type="PackSegInputs", meta_keys=("img_path", "seg_map_path", "ori_shape", "img_shape", "domain")),
        ],
    ),
)
test_dataloader = val_dataloader
val_evaluator = dict(type="DomainIoUMetric", iou_metrics=["mIoU"])
test_evaluator = val_evaluator
