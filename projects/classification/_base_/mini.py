# The miniature benchmark: digits drawn with strokes -> handwriting on photographs (see docs/miniature.md).
data_root = "{{$GCISG_DATA:data}}/mini/classification"
hint = "Make the miniature's data: gcisg prepare"
size = 64
classes = ("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine")
train_dataloader = dict(
    batch_size=32,
    num_workers=0,
    drop_last=True,
    sampler=dict(type="SeededSampler"),
    collate_fn=dict(type="default_collate"),
    dataset=dict(
        type="SeededDataset",
        dataset=dict(
            type="ClassFolderDataset",
            root=data_root + "/source",
            classes=classes,
            download_hint=hint,
            # Translations are CSG's 100 of 224 pixels, at this size.
            # views: as many as the method needs.
            pipeline=dict(type="TrainViews", size=size, views=None, randaugment=dict(max_translation=100 * size / 224)),
        ),
    ),
)
val_dataloader = dict(
    batch_size=256,
    num_workers=0,
    sampler=dict(type="DefaultSampler", shuffle=False),
    collate_fn=dict(type="default_collate"),
    dataset=dict(
        type="ClassFolderDataset",
        root=data_root + "/dev",
        classes=classes,
        download_hint=hint,
        pipeline=dict(type="EvalView", size=size),
    ),
)
test_dataloader = dict(**val_dataloader)
test_dataloader["dataset"] = dict(val_dataloader["dataset"], root=data_root + "/test")
val_evaluator = dict(type="ClassAccuracy")
test_evaluator = val_evaluator

train_cfg = dict(type="IterBasedTrainLoop", max_iters=210, val_interval=210)
val_cfg = dict()
test_cfg = dict()
optim_wrapper = dict(
    optimizer=dict(type="SGD", lr=0.1, momentum=0.9, weight_decay=5e-4),
    clip_grad=dict(max_norm=2.0),
    paramwise_cfg=dict(custom_keys=dict(backbone=dict(lr_mult=0.5))),
)
param_scheduler = dict(type="CosineAnnealingLR", by_epoch=False, T_max=210)

model = dict(
    type="SynToRealClassifier",
    backbone="mini_resnet",
    weights="{{$GCISG_DATA:data}}/mini/reference.pth",
    num_classes=10,
    hidden=64,
    regularizer=dict(method="none"),
    backbone_plugins=dict(),  # of the backbone, see docs/methods.md
)
