# What every run on mmengine shares.
custom_imports = dict(imports=["gcisg_cls"], allow_failed_imports=False)
default_scope = "mmengine"
randomness = dict(seed=0)
custom_hooks = [dict(type="RegularizerHook"), dict(type="SelectionHook")]
selection = dict(every_checkpoint=False)  # rank checkpoints as they are written; its other keys: docs/selection.md
default_hooks = dict(
    logger=dict(type="LoggerHook", interval=50, log_metric_by_epoch=False),  # evaluations by their step too
    checkpoint=dict(type="CheckpointHook", by_epoch=False, interval=1000, max_keep_ckpts=2),
)
log_processor = dict(by_epoch=False, window_size=50)
env_cfg = dict(dist_cfg=dict(backend="nccl"))
log_level = "INFO"
load_from = None
resume = False
