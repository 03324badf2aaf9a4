# 40 epochs of GTAV at batch 8: 24,966 // 8 = 3,120 iterations an epoch (the rest dropped), 124,800 in all.
epoch_iters = 24_966 // 8
max_iters = 40 * epoch_iters
optim_wrapper = dict(type="OptimWrapper", optimizer=dict(type="SGD", lr=1e-3, momentum=0.9, weight_decay=5e-4))
param_scheduler = [dict(type="PolyLR", power=0.9, eta_min=0.0, begin=0, end=max_iters, by_epoch=False)]
# Validation looks at the target: it is for the curve only and chooses no checkpoint.
train_cfg = dict(type="IterBasedTrainLoop", max_iters=max_iters, val_interval=4 * epoch_iters)
val_cfg = dict(type="ValLoop")
test_cfg = dict(type="TestLoop")
default_hooks = dict(
    timer=dict(type="IterTimerHook"),
    logger=dict(type="LoggerHook", interval=50, log_metric_by_epoch=False),
    param_scheduler=dict(type="ParamSchedulerHook"),
    checkpoint=dict(type="CheckpointHook", by_epoch=False, interval=epoch_iters, max_keep_ckpts=2),
    sampler_seed=dict(type="DistSamplerSeedHook"),
)
