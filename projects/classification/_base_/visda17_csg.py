# The training and evaluation of the authors' code of CSG and ASG on VisDA-17, without a method; docs/recipes.md has the
# origin of each setting.
_base_ = "visda17.py"
train_dataloader = dict(batch_size=32, dataset=dict(dataset=dict(pipeline=dict(crop="random"))))
iterations_per_epoch = 152397 // 32
max_iters = 30 * iterations_per_epoch
train_cfg = dict(max_iters=max_iters, val_interval=iterations_per_epoch)
# The head, and a method's projectors, at 1e-4; the backbone at a tenth of it.
optim_wrapper = dict(optimizer=dict(lr=1e-4), paramwise_cfg=dict(custom_keys=dict(backbone=dict(lr_mult=0.1))))
param_scheduler = [dict(type="WarmupPolyLR", end=max_iters, warmup=100, power=0.9)]
auto_scale_lr = dict(base_batch_size=32)
# The whole network is in eval mode: BatchNorm keeps its statistics, its affine weights are trained.
model = dict(norm_eval=True, flip_average=True)
