# GTAV for training. GCISG_DATA names the folder that holds the data sets.
crop_size = (512, 512)
train_pipeline = [
    dict(type="LoadCheckedImage"),
    dict(type="LoadLabelIds"),
    dict(type="RandomResize", scale=(1914, 1052), ratio_range=(0.5, 2.0), keep_ratio=True),
    dict(type="RandomCrop", crop_size=crop_size, cat_max_ratio=0.75),
    dict(type="RandomFlip", prob=0.5),
    # No colour jitter here: both photometric views are drawn on the device, from the same geometry.
    dict(type="PackSegInputs"),
]
train_dataloader = dict(
    batch_size=8,  # of the whole job: divide by the number of GPUs
    num_workers=4,
    persistent_workers=True,
    drop_last=True,
    # Sample n of a run is the same with any number of workers and after a resume.
    sampler=dict(type="SeededSampler", shuffle=True),
    dataset=dict(
        type="SeededDataset",
        dataset=dict(
            type="GTAVDataset",
            data_root="{{$GCISG_DATA:data}}/gta5",
            # The official download has a few bad pairs. "skip" warns and continues; see tools/audit_data.py.
            on_bad_sample="error",
            pipeline=train_pipeline,
        ),
    ),
)
