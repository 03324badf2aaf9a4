_base_ = ["_base_/mini.py", "_base_/runtime.py"]
# The miniature's stand-in for ImageNet: a network that knows 81 other glyph classes in the real style.
data_root = "{{$GCISG_DATA:data}}/mini/classification/reference"
train_dataloader = dict(
    batch_size=64,
    num_workers=1,  # reads while the other process trains, on one thread (gcisg_cls.mini.pretrain)
    dataset=dict(
        dataset=dict(
            root=data_root + "/train",
            classes=None,
            pipeline=dict(_delete_=True, type="TrainViews", size=32, views=1, randaugment=dict(num_ops=0)),
        )
    ),
)
val_dataloader = dict(dataset=dict(root=data_root + "/val", classes=None))
test_dataloader = val_dataloader
train_cfg = dict(max_iters=1200, val_interval=1200)
optim_wrapper = dict(optimizer=dict(lr=0.1, nesterov=True), clip_grad=None)
param_scheduler = dict(T_max=1200)
model = dict(weights=None, num_classes=81, hidden=0)
