# The schedule of CSG's code: 50 "epochs" of 2,000 iterations, the backbone at a tenth of the head's rate.
_base_ = "schedule_40e.py"
epoch_iters = 2_000
max_iters = 50 * epoch_iters
optim_wrapper = dict(paramwise_cfg=dict(custom_keys={"backbone": dict(lr_mult=0.1)}))
param_scheduler = [dict(type="WarmupPolyLR", end=max_iters, warmup=100, power=0.9)]
train_cfg = dict(max_iters=max_iters, val_interval=4 * epoch_iters)
default_hooks = dict(checkpoint=dict(interval=epoch_iters))
