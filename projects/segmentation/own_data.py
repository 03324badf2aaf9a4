_base_ = [
    "_base_/deeplabv3_r50.py",
    "_base_/image_label_folders.py",
    "_base_/schedule_40e.py",
    "_base_/runtime.py",
]
# The paper's recipe with a shorter schedule; docs/your_data.md has the lines that a config of yours adds.
max_iters = 20_000
param_scheduler = [dict(type="PolyLR", power=0.9, eta_min=0.0, begin=0, end=max_iters, by_epoch=False)]
train_cfg = dict(max_iters=max_iters, val_interval=2_000)
default_hooks = dict(checkpoint=dict(interval=2_000))
