# VisDA-17 (train: rendered objects, validation: photos), official layout; its root is $GCISG_DATA/visda17.
data_root = "{{$GCISG_DATA:data}}/visda17"
train_dataloader = dict(
    batch_size=64,
    num_workers=8,
    persistent_workers=True,
    drop_last=True,
    sampler=dict(type="SeededSampler"),
    collate_fn=dict(type="default_collate"),
    dataset=dict(
        type="SeededDataset",
        dataset=dict(
            type="ClassFolderDataset",
            root=data_root + "/train",
            # views: as many as the method needs.
            pipeline=dict(
                type="TrainViews", size=224, views=None, crop="center", randaugment=dict(num_ops=1, magnitude=6.0)
            ),
        ),
    ),
)
val_dataloader = dict(
    batch_size=64,
    num_workers=8,
    persistent_workers=True,
    sampler=dict(type="DefaultSampler", shuffle=False),
    collate_fn=dict(type="default_collate"),
    dataset=dict(type="ClassFolderDataset", root=data_root + "/validation", pipeline=dict(type="EvalView", size=224)),
)
test_dataloader = val_dataloader
val_evaluator = dict(type="ClassAccuracy")
test_evaluator = val_evaluator

# 152,397 images / batches of 64 = 2,381 iterations an epoch; 30 epochs at a constant rate (paper, 4.1).
iterations_per_epoch = 152397 // 64
train_cfg = dict(type="IterBasedTrainLoop", max_iters=30 * iterations_per_epoch, val_interval=iterations_per_epoch)
val_cfg = dict()
test_cfg = dict()
optim_wrapper = dict(optimizer=dict(type="SGD", lr=1e-3, momentum=0.9, weight_decay=5e-4))
# The rate for this batch size; doubled batches double the rate if `auto_scale_lr.enable` is set.
auto_scale_lr = dict(base_batch_size=64, enable=False)

model = dict(
    type="SynToRealClassifier",
    backbone="resnet101",
    weights="IMAGENET1K_V1",  # or the path of a state dict file
    num_classes=12,
    hidden=512,
    regularizer=dict(method="none"),
    backbone_plugins=dict(),  # of the backbone, see docs/methods.md
)
