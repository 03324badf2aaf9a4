# GTAV as CSG's and ASG's code reads it: scales 0.75 to 1.25, a plain crop, batches of 6.
_base_ = "gtav.py"
train_pipeline = [
    dict(type="LoadCheckedImage"),
    dict(type="LoadLabelIds"),
    dict(type="RandomResize", scale=(1914, 1052), ratio_range=(0.75, 1.25), keep_ratio=True),
    dict(type="RandomCrop", crop_size={{_base_.crop_size}}),
    dict(type="RandomFlip", prob=0.5),
    dict(type="PackSegInputs"),
]
train_dataloader = dict(batch_size=6, dataset=dict(dataset=dict(pipeline=train_pipeline)))
